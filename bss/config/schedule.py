"""The schedulers of params.yaml: the entries defined in `bss.balance.schedulers`."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Union

from pydantic import Field

import bss.balance.schedulers
from bss.balance.checks import require
from bss.balance.schedulers import Entry
from bss.discover import discover


def find_entries() -> tuple[type[Entry], ...]:
    """Return the class of every entry, the baseline first and the others by the names of their files."""
    found = discover(bss.balance.schedulers, "ENTRY")
    return tuple(found[name] for name in sorted(found, key=lambda name: (name != "uniform", name)))


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
