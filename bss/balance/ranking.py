"""Rankings: samples from balanced to imbalanced, over all classes or class by class."""

import numpy as np
import numpy.typing as npt

Indices = npt.NDArray[np.int64]


def rank(scores: npt.ArrayLike, generator: np.random.Generator) -> Indices:
    """Return the sample indices [n] from the highest of `scores` [n] to the lowest, ties in random order."""
    scores = np.asarray(scores, dtype=np.float64)
    return np.lexsort((generator.random(len(scores)), -scores)).astype(np.int64)


def rank_stratified(scores: npt.ArrayLike, labels: npt.ArrayLike, generator: np.random.Generator) -> Indices:
    """Rank within each class, then merge so that every prefix holds the classes in their proportions.

    `labels` [n] are integers. A class with c samples has its r-th ranked one at place (r + 0.5) / c of
    the merged ranking. Of C classes, one with the share q is off its share of any prefix by at most
    1/2 + q * C / 2 samples.
    """
    scores = np.asarray(scores, dtype=np.float64)
    _, labels = np.unique(np.asarray(labels), return_inverse=True)
    ties = generator.random(len(scores))
    by_class = np.lexsort((ties, -scores, labels))
    counts = np.bincount(labels)
    starts = np.cumsum(counts) - counts
    sorted_labels = labels[by_class]
    place = (np.arange(len(scores)) - starts[sorted_labels] + 0.5) / counts[sorted_labels]
    return by_class[np.lexsort((ties[by_class], place))].astype(np.int64)
