"""BSS-L: a weighted random permutation by the smoothed score."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from bss.balance.checks import require
from bss.balance.draw import generator, weighted_permutation
from bss.balance.schedulers.base import ORDERS, Entry, Order, Scheduler
from bss.balance.score import Floats, smooth
from bss.balance.sorting import Indices


@dataclass(frozen=True)
class Learned(Scheduler):
    """BSS-L: a weighted random permutation by the smoothed score, re-measured every `every` epochs.

    Every sample is shown once per epoch; balanced ones tend to come early (paper section 4).
    """

    every: int = 1
    """Epochs between two measurements (the paper's E), at least 1."""
    beta: float = 0.6
    """Weight of the new measurement in the smoothed score, in (0, 1]; 1 means no smoothing."""
    probability: Literal["softmax", "shifted", "one-plus"] = "softmax"
    """softmax of the smoothed score (paper); shifted: (1 + s + 0.01) / sum (the authors' scripts); or one-plus:
    (1 + s) / sum (their script for NVGesture), where samples with score -1 come last."""
    order: Order = "balanced-first"
    """balanced-first, or imbalanced-first: with the sign of the score flipped (the scripts for Twitter-2015)."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(self.every >= 1, "every", self.every, "at least 1")
        require(0 < self.beta <= 1, "beta", self.beta, "in (0, 1]")
        known = ("softmax", "shifted", "one-plus")
        require(self.probability in known, "probability", self.probability, "softmax, shifted or one-plus")
        require(self.order in ORDERS, "order", self.order, " or ".join(ORDERS))

    @property
    def measures_every(self) -> int:
        """Epochs between two measurements of the scores."""
        return self.every

    def smooth(self, before: Floats, measured: Floats) -> Floats:
        """Return the exponential moving average of the scores (paper section 4)."""
        return smooth(before, measured, self.beta)

    def log_weights(self, scores: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return the logarithm of each sample's unnormalised probability, float64 [n].

        `scores` are the smoothed scores [n]; all but the softmax need them to be at least -1.
        """
        scores = np.asarray(scores, dtype=np.float64)
        if self.order == "imbalanced-first":
            scores = -scores
        if self.probability == "softmax":
            return scores
        if scores.min() < -1 - 1e-9:
            raise ValueError(
                f"probability `{self.probability}` needs scores in [-1, 1], but one is {scores.min():g}: "
                "use `softmax`, or the paper's pair of criteria"
            )
        clipped = np.maximum(scores, -1.0)
        if self.probability == "shifted":
            return np.log(1.01 + clipped)
        return np.log(np.maximum(1 + clipped, np.finfo(np.float64).tiny))  # a weight of 0 has no logarithm

    def probabilities(self, scores: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return each sample's probability of being drawn first, float64 [n] with sum 1.

        `scores` are the smoothed scores [n]. Raises ValueError unless all of them are finite.
        """
        logs = self.log_weights(scores)
        if not np.isfinite(logs).all():
            raise ValueError("the weights of a draw must be finite and greater than 0")
        weights = np.exp(logs - logs.max())
        result: npt.NDArray[np.float64] = weights / weights.sum()
        return result

    def basis(self, n: int, scores: Floats | None, seed: int, labels: npt.ArrayLike | None = None) -> Floats:
        """Return the smoothed `scores` [n]."""
        if scores is None:
            raise ValueError("a weighted draw needs scores")
        return scores

    def sequence(self, basis: npt.ArrayLike, epoch: int, seed: int, minimum: int = 1) -> Indices:
        """Return `epoch`'s sequence for the smoothed scores `basis` [n]: a permutation of 0 .. n - 1 (int64)."""
        return weighted_permutation(self.log_weights(basis), generator(seed, "learned", epoch))

    def plan_columns(self, basis: Floats, scores: Floats | None, n: int, epochs: int, minimum: int) -> dict[str, Any]:
        """Return score and probability (of being drawn first)."""
        return {"score": scores, "probability": self.probabilities(basis)}


@dataclass(frozen=True)
class LearnedEntry(Learned, Entry):
    """BSS-L."""

    kind: Literal["learned"] = "learned"
    scores: Literal["warm-up", "initial"] = "warm-up"
    """The first measurement: after the warm-up, or of the freshly initialised network (the scripts) in
    measure.initial_mode."""
    measuring: Literal["full", "online"] = "full"
    """Re-measure with a pass over the training set, or from the logits of the training pass."""
    mode: Literal["eval", "train"] = "eval"
    """Mode of the network in a full pass; train updates the batch-norm statistics, like the scripts."""


ENTRY = LearnedEntry
