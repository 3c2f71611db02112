"""Uniform shuffling, the baseline."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy.typing as npt

from bss.balance.draw import generator
from bss.balance.schedulers.base import Entry, Scheduler
from bss.balance.score import Floats
from bss.balance.sorting import Indices


@dataclass(frozen=True)
class Uniform(Scheduler):
    """Uniform shuffling: every epoch is a new random permutation of all samples. The baseline."""

    needs_scores: ClassVar[bool] = False

    def basis(self, n: int, scores: Floats | None, seed: int, labels: npt.ArrayLike | None = None) -> int:
        """Return `n`."""
        return n

    def sequence(self, basis: int, epoch: int, seed: int, minimum: int = 1) -> Indices:
        """Return a uniformly random permutation of 0 .. basis - 1 (int64)."""
        return generator(seed, "uniform", epoch).permutation(basis)


@dataclass(frozen=True)
class UniformEntry(Uniform, Entry):
    """Uniform shuffling."""

    kind: Literal["uniform"] = "uniform"


ENTRY = UniformEntry
