"""The schedulers of params.yaml: one dataclass per kind; the text under a field is its documentation."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from bss.balance.checks import require
from bss.balance.schedulers import Heuristic, Learned, Uniform


@dataclass(frozen=True)
class UniformEntry(Uniform):
    """Uniform shuffling."""

    kind: Literal["uniform"] = "uniform"


@dataclass(frozen=True)
class HeuristicEntry(Heuristic):
    """BSS-H, its reversal, its trimming, and the random-ranking control."""

    kind: Literal["heuristic"] = "heuristic"
    scores: Literal["warm-up", "initial"] = "warm-up"
    """Scores after the warm-up, or of the freshly initialised network (the scripts) in measure.initial_mode."""


@dataclass(frozen=True)
class LearnedEntry(Learned):
    """BSS-L."""

    kind: Literal["learned"] = "learned"
    scores: Literal["warm-up", "initial"] = "warm-up"
    """The first measurement: after the warm-up, or of the freshly initialised network (the scripts), which is made in
    measure.initial_mode."""
    measuring: Literal["full", "online"] = "full"
    """Measure again with a pass over the training set, or from the logits of the training pass."""
    mode: Literal["eval", "train"] = "eval"
    """Mode of the network in a full pass; train moves the batch-norm statistics, as the scripts do."""


SchedulerEntry = Annotated[UniformEntry | HeuristicEntry | LearnedEntry, Field(discriminator="kind")]


@dataclass(frozen=True)
class ScheduleConfig:
    """The schedulers that are compared."""

    schedulers: dict[str, SchedulerEntry]
    """A name of your choice to a scheduler."""

    def __post_init__(self) -> None:
        """Check the names: they become folders and metric names."""
        require(bool(self.schedulers), "schedulers", {}, "one or more")
        for name in self.schedulers:
            ok = name.replace("-", "").replace("_", "").isalnum() and name.isascii() and name.lower() == name
            require(ok, "schedulers", name, "a name of lower-case letters, digits, - and _")
