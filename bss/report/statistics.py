"""Statistics of the comparison: pure functions of small arrays."""

from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

EXACT_UP_TO = 16
"""Seeds up to which every sign pattern of the permutation test is tried."""
PATTERNS = 1 << 16
"""Random sign patterns beyond that."""


@dataclass(frozen=True)
class Difference:
    """A paired difference over seeds."""

    difference: float
    """The mean."""
    low: float | None
    """Lower end of the 95 % interval; None with one seed."""
    high: float | None
    """Upper end."""
    p: float | None
    """Of the sign-flip test; None with one seed."""


def paired_difference(values: npt.ArrayLike, others: npt.ArrayLike, resamples: int) -> Difference:
    """Compare `values` [seeds] with `others` [seeds], paired by seed.

    The interval is the percentile bootstrap over seeds with a fixed random state. p is two-sided, of the
    sign-flip permutation test; with n seeds it cannot be smaller than 2 / 2^n, which is 0.0625 for 5.
    """
    differences = np.asarray(values, dtype=np.float64) - np.asarray(others, dtype=np.float64)
    if len(differences) == 1:
        return Difference(float(differences[0]), None, None, None)
    random = np.random.default_rng(0)
    picked = differences[random.integers(len(differences), size=(resamples, len(differences)))].mean(axis=1)
    low, high = np.quantile(picked, [0.025, 0.975])
    return Difference(float(differences.mean()), float(low), float(high), sign_flip_p(differences))


def sign_flip_p(differences: Floats) -> float:
    """Return the two-sided p-value of the sign-flip permutation test of a mean of 0 (`differences` [n])."""
    n = len(differences)
    if n <= EXACT_UP_TO:
        signs = np.array(list(product((1, -1), repeat=n)), dtype=np.float64)
        extra = 0
    else:
        signs = np.random.default_rng(0).choice([1.0, -1.0], size=(PATTERNS, n))
        extra = 1  # the observed pattern is one of those that count
    sums = np.abs(signs @ differences)
    # A sum in another order differs in its last bits: patterns as extreme as the observed one count.
    reached = np.count_nonzero(sums >= abs(differences.sum()) - 1e-12 * max(1.0, np.abs(differences).sum()))
    return float((reached + extra) / (len(signs) + extra))


def auc(higher: npt.ArrayLike, lower: npt.ArrayLike) -> float | None:
    """Return the probability that a value of `higher` [n] exceeds one of `lower` [m], ties counted half.

    None where one of them is empty.
    """
    higher, lower = np.asarray(higher, dtype=np.float64), np.sort(np.asarray(lower, dtype=np.float64))
    if len(higher) == 0 or len(lower) == 0:
        return None
    below = np.searchsorted(lower, higher, side="left") + np.searchsorted(lower, higher, side="right")
    return float(below.mean() / 2 / len(lower))
