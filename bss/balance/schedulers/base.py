"""Scheduler: the interface for samplers, plans and trials; Entry: its form in params.yaml.

A scheduler holds parameters only, as a frozen dataclass. The same arguments give the same sequence on every machine;
state that changes during training (re-measured scores) lives in the sampler.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from bss.balance.score import Floats
from bss.balance.sorting import Indices

Order = Literal["balanced-first", "imbalanced-first"]
ORDERS = ("balanced-first", "imbalanced-first")


@dataclass(frozen=True)
class Scheduler(ABC):
    """Maps scores, epoch and seed to the epoch's sequence of sample indices."""

    needs_scores: ClassVar[bool] = True
    """False if the scheduler uses no scores, so that none are measured."""

    @property
    def needs_labels(self) -> bool:
        """Whether `basis` needs the samples' labels."""
        return False

    @property
    def measures_every(self) -> int | None:
        """Epochs between two measurements of the scores; None if they are measured once."""
        return None

    @property
    def first_epoch_advice(self) -> str:
        """How to make the first epoch show the classes it leaves out, for messages."""
        return "let its first epoch show more samples"

    def fraction(self, epoch: int) -> float:
        """Return the share of the admitted samples that `epoch` (from 0) may show, in (0, 1]."""
        return 1.0

    def admitted(self, n: int) -> int:
        """Return how many of `n` samples are ever shown."""
        return n

    def count(self, admitted: int, epoch: int, minimum: int = 1) -> int:
        """Return how many of the `admitted` samples `epoch` shows, at least `minimum` if there are so many."""
        return admitted

    def too_few(self, n: int, minimum: int) -> tuple[str, Any] | None:
        """Return the parameter, with its value, that admits fewer than `minimum` of `n` samples; None if none does."""
        return None

    def smooth(self, before: Floats, measured: Floats) -> Floats:
        """Return the new scores [k] from the current scores `before` [k] and the new measurement `measured` [k]."""
        return measured

    @abstractmethod
    def basis(self, n: int, scores: Floats | None, seed: int, labels: npt.ArrayLike | None = None) -> Any:
        """Return the basis from which `sequence` draws, for `n` samples with scores [n] (None without `needs_scores`).

        It is recomputed whenever the scores change.
        """

    @abstractmethod
    def sequence(self, basis: Any, epoch: int, seed: int, minimum: int = 1) -> Indices:
        """Return the sample indices that `epoch` (from 0) shows, in order, int64 [count]."""

    def plan_columns(self, basis: Any, scores: Floats | None, n: int, epochs: int, minimum: int) -> dict[str, Any]:
        """Return the columns of a plan, [n] each, masked if a sample has no value: score and derived columns."""
        return {"score": np.ma.masked_all(n, dtype=np.float64) if scores is None else scores}


class Entry(Scheduler):
    """A scheduler in params.yaml; a subclass declares `kind` and the other keys it uses as fields."""

    kind: str
    """The name of the scheduler in params.yaml: ``Literal["name"] = "name"``."""
    scores: Literal["warm-up", "initial"] = "warm-up"
    """Which measurement is the first: after the warm-up, or of the freshly initialised network."""
    measuring: Literal["full", "online"] = "full"
    """How scores are re-measured: with a pass over the training set, or from the logits of the training pass."""
    mode: Literal["eval", "train"] = "eval"
    """Mode of the network in a full pass."""

    @property
    def measures_by(self) -> Literal["eval", "train", "online"] | None:
        """How scores are re-measured: in a full pass in this mode, or online; None if never."""
        if self.measures_every is None:
            return None
        return "online" if self.measuring == "online" else self.mode
