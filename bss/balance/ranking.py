"""Rankings: samples from balanced to imbalanced, over all classes or class by class."""

import numpy as np
import numpy.typing as npt

from bss.balance.sorting import Floats, Indices, stable_argsort

SAMPLE = 1024
"""Approximate number of scores to sample when estimating whether most are distinct."""


def rank(scores: npt.ArrayLike, generator: np.random.Generator) -> Indices:
    """Return the sample indices [n] from the highest of `scores` [n] to the lowest, ties in random order."""
    scores = np.asarray(scores, dtype=np.float64)
    ties = generator.random(len(scores))
    sample = np.sort(scores[:: max(1, len(scores) // SAMPLE)])
    if _mostly_distinct(_starts(sample)):
        order = stable_argsort(-scores)
        starts = _starts(scores[order])
        if _mostly_distinct(starts):
            _order_ties(order, starts, ties)
            return order
        del order, starts
    by_ties = stable_argsort(ties)
    del ties  # frees 8 bytes per sample for the second sort
    return _refine(by_ties, -scores)


def rank_stratified(scores: npt.ArrayLike, labels: npt.ArrayLike, generator: np.random.Generator) -> Indices:
    """Rank within each class, then merge so that every prefix holds the classes in their proportions.

    `labels` [n] are integers. The r-th ranked sample of a class with c samples goes to position (r + 0.5) / c of
    the merged ranking. Of C classes, one with the share q is off its share of any prefix by at most
    1/2 + q * C / 2 samples.
    """
    labels = np.asarray(labels)
    random_order = stable_argsort(generator.random(len(labels)))
    by_class = _refine(_refine(random_order, -np.asarray(scores, dtype=np.float64)), labels)
    place = np.empty(len(labels))
    place[by_class] = _places(labels[by_class])
    return _refine(random_order, place)


def _starts(sorted_keys: Floats) -> npt.NDArray[np.bool_]:
    """Return the positions in `sorted_keys` [n] at which a run of equal keys begins."""
    starts = np.ones(len(sorted_keys), dtype=np.bool_)
    starts[1:] = sorted_keys[1:] != sorted_keys[:-1]
    return starts


def _mostly_distinct(starts: npt.NDArray[np.bool_]) -> bool:
    """Return whether sorting only the ties pays off: its memory and time grow with their number."""
    return bool(starts.sum() >= 0.75 * len(starts))


def _order_ties(order: Indices, starts: npt.NDArray[np.bool_], ties: Floats) -> None:
    """Sort each run of `order`, which `starts` marks, by the `ties` [n] of its members, in place."""
    alone = starts.copy()
    alone[:-1] &= starts[1:]
    tied = np.flatnonzero(~alone)
    members, runs = order[tied], np.cumsum(starts[tied])
    order[tied] = members[_refine(stable_argsort(ties[members]), runs)]


def _refine(order: Indices, keys: npt.NDArray) -> Indices:
    """Return `order` sorted stably by `keys` of its members."""
    return order[stable_argsort(keys[order])]


def _places(sorted_labels: npt.NDArray) -> Floats:
    """Return ``(r + 0.5) / c`` for the r-th of the c members of each class, grouped by class."""
    starts = np.flatnonzero(np.concatenate([[True], sorted_labels[1:] != sorted_labels[:-1]]))
    counts = np.diff(starts, append=len(sorted_labels))
    return (np.arange(len(sorted_labels)) - np.repeat(starts, counts) + 0.5) / np.repeat(counts, counts)
