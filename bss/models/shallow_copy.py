"""Shallow copy of a module."""

import copy
from typing import TypeVar

from torch import nn

Module = TypeVar("Module", bound=nn.Module)


def shallow_copy(module: Module) -> Module:
    """Return a module with the same parameters, buffers and children, each of which can be replaced."""
    copied = copy.copy(module)
    for parts in ("_parameters", "_buffers", "_modules"):
        setattr(copied, parts, getattr(module, parts).copy())
    return copied
