"""Schedulers: pure functions from scores, epoch and seed to the epoch's sequence of sample indices.

A scheduler holds parameters only. The same arguments give the same sequence on every machine; what
changes while a model trains (scores that are measured again) is held by the sampler.
"""

import math
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from bss.balance.checks import require
from bss.balance.draw import generator, weighted_permutation
from bss.balance.pacing import Pacing
from bss.balance.ranking import rank, rank_stratified
from bss.balance.sorting import Indices

Order = Literal["balanced-first", "imbalanced-first"]
ORDERS = ("balanced-first", "imbalanced-first")


@dataclass(frozen=True)
class Uniform:
    """Uniform shuffling: every epoch is a new random permutation of all samples. The baseline."""

    def fraction(self, epoch: int) -> float:
        """Return 1: every epoch shows all samples."""
        return 1.0

    def sequence(self, n: int, epoch: int, seed: int) -> Indices:
        """Return a uniformly random permutation of 0 .. n - 1 (int64)."""
        return generator(seed, "uniform", epoch).permutation(n)


@dataclass(frozen=True)
class Heuristic:
    """BSS-H: a curriculum on a fixed ranking, opened step by step by a pacing function (paper section 3).

    Epoch t shows a random shuffle of the first ``floor(m * fraction(t))`` ranked samples, where m counts
    the samples that are ever admitted.
    """

    pacing: Pacing = field(default_factory=Pacing)
    """How fast the ranking opens."""
    order: Order = "balanced-first"
    """balanced-first as in the paper, or imbalanced-first: the reversed curriculum."""
    ranking: Literal["score", "random"] = "score"
    """score, or random: the control with the same pacing and no knowledge."""
    trim: float = 0.0
    """The share at the end of the ranking that is never admitted, in [0, 1)."""
    stratified: bool = False
    """Rank class by class, so that every prefix has the classes in their proportions."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(isinstance(self.pacing, Pacing), "pacing", self.pacing, "a Pacing")
        require(self.order in ORDERS, "order", self.order, " or ".join(ORDERS))
        require(self.ranking in ("score", "random"), "ranking", self.ranking, "score or random")
        require(0 <= self.trim < 1, "trim", self.trim, "in [0, 1)")

    def rank(self, scores: npt.ArrayLike, seed: int, labels: npt.ArrayLike | None = None) -> Indices:
        """Return the admitted samples in the order in which the pacing opens them.

        Parameters
        ----------
        scores : [n] floats, high = balanced; with ``ranking="random"`` only their number counts.
        seed : decides ties and the random ranking.
        labels : [n] integers, needed when `stratified`.

        Returns
        -------
        int64 [n - floor(n * trim)].
        """
        scores = np.asarray(scores, dtype=np.float64)
        n = len(scores)
        random = generator(seed, "ranking")
        if self.ranking == "random":
            scores = random.random(n)
        elif not np.isfinite(scores).all():
            raise ValueError("scores must be finite to rank by them")
        if self.order == "imbalanced-first":
            scores = -scores
        if self.stratified:
            if labels is None or len(np.asarray(labels)) != n:
                raise ValueError(f"a stratified ranking needs the label of each of the {n} samples")
            ranking = rank_stratified(scores, labels, random)
        else:
            ranking = rank(scores, random)
        return ranking[: n - math.floor(n * self.trim)]

    def fraction(self, epoch: int) -> float:
        """Return the share of the admitted samples that `epoch` (from 0) may show, in (0, 1]."""
        return self.pacing.fraction(epoch)

    def count(self, admitted: int, epoch: int, minimum: int = 1) -> int:
        """Return how many samples `epoch` shows: the pacing's share, but never fewer than `minimum`."""
        return min(admitted, max(minimum, math.floor(admitted * self.fraction(epoch))))

    def sequence(self, ranking: Indices, epoch: int, seed: int, minimum: int = 1) -> Indices:
        """Return `epoch`'s sequence: a random shuffle of the open part of `ranking` (from `rank`)."""
        opened = ranking[: self.count(len(ranking), epoch, minimum)]
        return generator(seed, "heuristic", epoch).permutation(opened)


@dataclass(frozen=True)
class Learned:
    """BSS-L: a weighted random permutation by the smoothed score, measured again every `every` epochs.

    Every sample is seen once an epoch; the balanced ones are likely to come early (paper section 4).
    """

    every: int = 1
    """Epochs between two measurements (the paper's E), at least 1."""
    beta: float = 0.6
    """Weight of the new measurement in the smoothed score, in (0, 1]; 1 means no smoothing."""
    probability: Literal["softmax", "shifted", "one-plus"] = "softmax"
    """softmax of the smoothed score (paper); shifted: (1 + s + 0.01) / sum (the authors' scripts); or one-plus:
    (1 + s) / sum (their script for NVGesture), with which samples of score -1 come last."""
    order: Order = "balanced-first"
    """balanced-first, or imbalanced-first: the sign of the score reversed (the scripts on Twitter2015)."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(self.every >= 1, "every", self.every, "at least 1")
        require(0 < self.beta <= 1, "beta", self.beta, "in (0, 1]")
        known = ("softmax", "shifted", "one-plus")
        require(self.probability in known, "probability", self.probability, "softmax, shifted or one-plus")
        require(self.order in ORDERS, "order", self.order, " or ".join(ORDERS))

    def fraction(self, epoch: int) -> float:
        """Return 1: every epoch shows all samples."""
        return 1.0

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
                f"probability `{self.probability}` is made for scores in [-1, 1], but one is {scores.min():g}: "
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

    def sequence(self, scores: npt.ArrayLike, epoch: int, seed: int) -> Indices:
        """Return `epoch`'s sequence for the smoothed `scores` [n]: a permutation of 0 .. n - 1 (int64)."""
        return weighted_permutation(self.log_weights(scores), generator(seed, "learned", epoch))


Scheduler = Uniform | Heuristic | Learned
