"""Statistics of the comparison: pure functions of small arrays; see docs/statistics.md for reasons and sources."""

from functools import lru_cache
from itertools import product

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

EXACT_UP_TO = 16
"""Seeds up to which the sign-flip tests enumerate every sign vector."""
TIE = 1e-10
"""Tolerance for equal statistics in [0, 1]: sums in different orders differ in their last bits."""


def paired_differences(values: npt.ArrayLike, others: npt.ArrayLike) -> Floats:
    """Return ``values - others``, float64 [..., seeds], both given per seed in the same order.

    Differences along the last axis that are equal up to rounding are made equal, so that their deviation is 0.
    Raises ValueError for different shapes, for no seeds, and for non-finite numbers.
    """
    first, second = (np.asarray(a, dtype=np.float64) for a in (values, others))
    if first.shape != second.shape or first.ndim == 0 or first.shape[-1] == 0:
        raise ValueError(f"paired values need one number per seed on both sides, got {first.shape} and {second.shape}")
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise ValueError("paired values must be finite; a seed without a result cannot be compared")
    differences = first - second
    mean = differences.mean(axis=-1, keepdims=True)
    rounding = 1e-12 * np.maximum(np.abs(first), np.abs(second)).max(axis=-1, keepdims=True)
    return np.where(np.ptp(differences, axis=-1, keepdims=True) <= rounding, mean, differences)


def deviation(differences: Floats) -> Floats:
    """Return the sample standard deviation along the last axis (ddof = 1), 0 for equal numbers; [..., n] to [...]."""
    spread = differences.std(axis=-1, ddof=1)
    return np.where(np.ptp(differences, axis=-1) == 0, 0.0, spread)


def t_interval(differences: Floats, level: float = 0.95) -> tuple[Floats, Floats]:
    """Return the ends of Student's t-interval of the mean along the last axis, [..., n] to two of [...].

    It needs n >= 2. Equal differences have an interval of zero width.
    """
    from scipy import stats

    n = differences.shape[-1]
    mean = differences.mean(axis=-1)
    half = stats.t.ppf((1 + level) / 2, n - 1) * deviation(differences) / np.sqrt(n)
    return mean - half, mean + half


def sign_flip_p(differences: Floats, resamples: int) -> Floats:
    """Return the uncorrected two-sided p-value of the sign-flip test of each row of `differences` [rows, n]: [rows].

    The null hypothesis is that a difference is as likely as its negative. With n seeds p is at least 2 / 2^n.
    Up to `EXACT_UP_TO` seeds every sign vector counts, beyond that `resamples` random ones and the observed one.
    """
    observed, flipped, extra = _statistics(differences, resamples)
    return _share(flipped >= observed - TIE, extra)


def max_t_p(differences: Floats, resamples: int) -> Floats:
    """Return p-values of the rows of `differences` [rows, n], corrected for testing all of them: [rows].

    The step-down max-T procedure of Westfall and Young (1993) by sign-flips. One sign per seed is common to all
    rows, so their dependence (a shared baseline above all) is kept. The chance of one or more p <= a among the
    rows without a difference is at most a, whichever these are.
    """
    observed, flipped, extra = _statistics(differences, resamples)
    order = np.argsort(-observed, kind="stable")
    # Each row is compared with the largest statistic among the rows that are not more extreme.
    rest = np.maximum.accumulate(flipped[:, order[::-1]], axis=1)[:, ::-1]
    p = np.maximum.accumulate(_share(rest >= observed[order] - TIE, extra))
    return p[np.argsort(order)]


def _statistics(differences: Floats, resamples: int) -> tuple[Floats, Floats, int]:
    """Return the observed statistics [rows], those of each sign vector [vectors, rows], and the number to add.

    The statistic is |sum| / sqrt(n * sum of squares), in [0, 1]. It is a monotonic function of Student's |t|, the
    same in every row, and is defined for equal differences: 1, or 0 if all of them are 0.
    """
    norms = np.sqrt(differences.shape[1] * np.square(differences).sum(axis=1))
    units = np.divide(differences, norms[:, None], out=np.zeros_like(differences), where=norms[:, None] > 0)
    signs = _sign_vectors(differences.shape[1], resamples)
    return np.abs(units.sum(axis=1)), np.abs(signs @ units.T), int(differences.shape[1] > EXACT_UP_TO)


@lru_cache(maxsize=8)
def _sign_vectors(n: int, resamples: int) -> Floats:
    """Return the sign vectors to evaluate, of 1 and -1, [vectors, n]; deterministic in the arguments."""
    if n <= EXACT_UP_TO:  # the negative of a vector gives the same statistic, so half of them are enough
        return np.array([(1, *rest) for rest in product((1, -1), repeat=n - 1)], dtype=np.float64)
    return np.random.default_rng(0).choice([1.0, -1.0], size=(resamples, n))


def _share(reached: npt.NDArray[np.bool_], extra: int) -> Floats:
    """Return the share of sign vectors [vectors, rows] that reach the observed statistic, with `extra` certain ones."""
    shares: Floats = (reached.sum(axis=0) + extra) / (len(reached) + extra)
    return shares


def auc(higher: npt.ArrayLike, lower: npt.ArrayLike) -> float | None:
    """Return the probability that a value of `higher` [n] exceeds one of `lower` [m], ties counted half.

    None if one of them is empty.
    """
    higher, lower = np.asarray(higher, dtype=np.float64), np.sort(np.asarray(lower, dtype=np.float64))
    if len(higher) == 0 or len(lower) == 0:
        return None
    below = np.searchsorted(lower, higher, side="left") + np.searchsorted(lower, higher, side="right")
    return float(below.mean() / 2 / len(lower))
