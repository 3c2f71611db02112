"""BSS-H: a curriculum on a fixed ranking; also its reversal, its trimming, and the random-ranking control."""

import math
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from bss.balance.checks import require
from bss.balance.draw import generator
from bss.balance.pacing import Pacing
from bss.balance.ranking import rank, rank_stratified
from bss.balance.schedulers.base import ORDERS, Entry, Order, Scheduler
from bss.balance.score import Floats
from bss.balance.sorting import Indices


@dataclass(frozen=True)
class Heuristic(Scheduler):
    """BSS-H: a curriculum on a fixed ranking, opened step by step by a pacing function (paper section 3).

    Epoch t shows a random shuffle of the first ``floor(m * fraction(t))`` ranked samples, where m counts
    the samples that are ever admitted.
    """

    pacing: Pacing = field(default_factory=Pacing)
    """How fast the ranking opens."""
    order: Order = "balanced-first"
    """balanced-first as in the paper, or imbalanced-first: the reversed curriculum."""
    ranking: Literal["score", "random"] = "score"
    """score, or random: the control with the same pacing and a random ranking."""
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
        scores : [n] floats, high = balanced; with ``ranking="random"`` only n is used.
        seed : breaks ties and draws the random ranking.
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
            raise ValueError("scores must be finite for a ranking")
        if self.order == "imbalanced-first":
            scores = -scores
        if self.stratified:
            if labels is None or len(np.asarray(labels)) != n:
                raise ValueError(f"a stratified ranking needs the label of each of the {n} samples")
            ranking = rank_stratified(scores, labels, random)
        else:
            ranking = rank(scores, random)
        return ranking[: self.admitted(n)]

    @property
    def needs_labels(self) -> bool:
        """Whether the ranking goes class by class."""
        return self.stratified

    @property
    def first_epoch_advice(self) -> str:
        """How to make the first epoch show the classes it leaves out, for messages."""
        return "raise its pacing.start" if self.stratified else "`stratified: true` shows each class"

    def fraction(self, epoch: int) -> float:
        """Return the share of the admitted samples that `epoch` (from 0) may show, in (0, 1]."""
        return self.pacing.fraction(epoch)

    def admitted(self, n: int) -> int:
        """Return how many of `n` samples the trimmed ranking holds."""
        return n - math.floor(n * self.trim)

    def count(self, admitted: int, epoch: int, minimum: int = 1) -> int:
        """Return how many samples `epoch` shows: the pacing's share, but never fewer than `minimum`."""
        return min(admitted, max(minimum, math.floor(admitted * self.fraction(epoch))))

    def too_few(self, n: int, minimum: int) -> tuple[str, Any] | None:
        """Return `trim` if it leaves fewer than `minimum` of `n` samples."""
        return ("trim", self.trim) if self.admitted(n) < minimum else None

    def basis(self, n: int, scores: Floats | None, seed: int, labels: npt.ArrayLike | None = None) -> Indices:
        """Return the ranking of the admitted samples, see `rank`."""
        if scores is None:
            raise ValueError("a ranking needs scores")
        return self.rank(scores, seed, labels)

    def sequence(self, basis: Indices, epoch: int, seed: int, minimum: int = 1) -> Indices:
        """Return `epoch`'s sequence: a random shuffle of the open part of the ranking `basis` (from `rank`)."""
        opened = basis[: self.count(len(basis), epoch, minimum)]
        return generator(seed, "heuristic", epoch).permutation(opened)

    def plan_columns(self, basis: Indices, scores: Floats | None, n: int, epochs: int, minimum: int) -> dict[str, Any]:
        """Return score, rank and first_epoch.

        A sample that is never admitted has no rank; one that no epoch of the run opens has no first_epoch.
        """
        rank = np.ma.masked_all(n, dtype=np.int64)
        rank[basis] = np.arange(len(basis))
        counts = np.array([self.count(len(basis), epoch, minimum) for epoch in range(epochs)])
        opened = basis[: counts.max()]
        first_epoch = np.ma.masked_all(n, dtype=np.int64)
        first_epoch[opened] = np.searchsorted(np.maximum.accumulate(counts), np.arange(1, len(opened) + 1))
        return {"score": scores, "rank": rank, "first_epoch": first_epoch}


@dataclass(frozen=True)
class HeuristicEntry(Heuristic, Entry):
    """BSS-H, its reversal, its trimming, and the random-ranking control."""

    kind: Literal["heuristic"] = "heuristic"
    scores: Literal["warm-up", "initial"] = "warm-up"
    """Scores after the warm-up, or of the freshly initialised network (the scripts) in measure.initial_mode."""


ENTRY = HeuristicEntry
