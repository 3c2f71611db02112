"""Finding what the modules of a package register under one name: schedulers, metrics, datasets."""

from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType
from typing import Any


def discover(package: ModuleType, attribute: str) -> dict[str, Any]:
    """Import the modules of `package`; return ``{module: value}`` of those with `attribute`, in alphabetical order."""
    names = sorted(module.name for module in iter_modules(package.__path__))
    modules = {name: import_module(f"{package.__name__}.{name}") for name in names}
    return {name: getattr(module, attribute) for name, module in modules.items() if hasattr(module, attribute)}
