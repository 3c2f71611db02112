"""Pacing: which share of the ranking an epoch of a curriculum may draw from."""

import math
from dataclasses import dataclass
from typing import Literal

from bss.balance.checks import require

Shape = Literal["root", "linear", "geometric", "step"]


def root(progress: float, start: float) -> float:
    """``sqrt((1 - start^2) * progress + start^2)``: the paper's pacing (section "Heuristic scheduler")."""
    return math.sqrt((1 - start**2) * progress + start**2)


def linear(progress: float, start: float) -> float:
    """``start + (1 - start) * progress``."""
    return start + (1 - start) * progress


def geometric(progress: float, start: float) -> float:
    """``start ** (1 - progress)``: the share grows by the same factor every epoch."""
    return float(start ** (1 - progress))


@dataclass(frozen=True)
class Pacing:
    """The share of the ranking that epoch t may draw from, growing from `start` to 1.

    Raises ``ValueError`` for a value outside its range.
    """

    shape: Shape = "root"
    """How the share grows: root (the paper), linear, geometric, or in equal steps."""
    start: float = 0.1
    """Share in epoch t = 0 (the paper's lambda_0), in (0, 1]."""
    grow_epochs: int = 40
    """Epochs until the whole ranking is open (the paper's T_grow), at least 1."""
    first_epoch: int = 0
    """The t of the first epoch: 0, or 1 as in the authors' scripts."""
    steps: int = 4
    """How many levels the step shape has between `start` and 1, at least 1; other shapes ignore it."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(self.shape in ("root", "linear", "geometric", "step"), "shape", self.shape, "a known shape")
        require(0 < self.start <= 1, "start", self.start, "in (0, 1]")
        require(self.grow_epochs >= 1, "grow_epochs", self.grow_epochs, "at least 1")
        require(self.first_epoch in (0, 1), "first_epoch", self.first_epoch, "0 or 1")
        require(self.steps >= 1, "steps", self.steps, "at least 1")

    def fraction(self, epoch: int) -> float:
        """Return the share of the ranking for `epoch` (counted from 0), in (0, 1]."""
        progress = min(1.0, (epoch + self.first_epoch) / self.grow_epochs)
        if self.shape == "root":
            return root(progress, self.start)
        if self.shape == "linear":
            return linear(progress, self.start)
        if self.shape == "geometric":
            return geometric(progress, self.start)
        return linear(math.floor(progress * self.steps) / self.steps, self.start)
