"""Parts of a network that do not learn for a while."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluating(*modules: nn.Module) -> Iterator[None]:
    """Have `modules` and all in them in eval mode, in the block."""
    training = [layer for module in modules for layer in module.modules() if layer.training]
    for layer in training:
        layer.training = False
    try:
        yield
    finally:
        for layer in training:
            layer.training = True


@contextmanager
def without_gradient(parameters: list[nn.Parameter]) -> Iterator[None]:
    """Let `parameters` not learn, in the block."""
    frozen = [p for p in parameters if p.requires_grad]
    for parameter in frozen:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in frozen:
            parameter.requires_grad_(True)


def parts_of(module: nn.Module) -> list[nn.Module | nn.Parameter]:
    """Return the layers and the parameters of `module`."""
    return [*module.modules(), *module.parameters()]
