"""The schedulers of params.yaml: the entries defined in `bss.balance.schedulers`."""

from dataclasses import dataclass
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Annotated, Union

from pydantic import Field

import bss.balance.schedulers
from bss.balance.checks import require
from bss.balance.schedulers import Entry


def find_entries() -> tuple[type[Entry], ...]:
    """Return the class of every entry, the baseline first and the others by the names of their files."""
    names = sorted((m.name for m in iter_modules(bss.balance.schedulers.__path__)), key=lambda n: (n != "uniform", n))
    modules = (import_module(f"bss.balance.schedulers.{name}") for name in names)
    return tuple(module.ENTRY for module in modules if hasattr(module, "ENTRY"))


if TYPE_CHECKING:
    SchedulerEntry = Entry
else:
    SchedulerEntry = Annotated[Union[find_entries()], Field(discriminator="kind")]  # noqa: UP007


@dataclass(frozen=True)
class ScheduleConfig:
    """The schedulers that are compared."""

    schedulers: dict[str, SchedulerEntry]
    """Maps a name of your choice to a scheduler."""

    def __post_init__(self) -> None:
        """Check the names, which become folder and metric names."""
        require(bool(self.schedulers), "schedulers", {}, "one or more")
        for name in self.schedulers:
            ok = name.replace("-", "").replace("_", "").isalnum() and name.isascii() and name.lower() == name
            require(ok, "schedulers", name, "a name of lower-case letters, digits, - and _")
