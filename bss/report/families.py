"""A family of comparisons: every scheduler against one reference on one metric, decided together."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from bss.report.seeds import fewest_seeds, seeds_to_bound, seeds_to_show
from bss.report.statistics import deviation, max_t_p, paired_differences, sign_flip_p, t_interval

Correction = Literal["max-t", "none"]
Verdict = Literal["better", "worse", "within-margin", "inconclusive"]

SIGNIFICANT = 0.05
"""Largest p for a verdict of better or worse, and 1 minus the level of the intervals."""
FEWEST_SEEDS = fewest_seeds(SIGNIFICANT)
"""With fewer seeds there is no verdict: with 5 the sign-flip test's smallest p is 0.0625."""


@dataclass(frozen=True)
class Difference:
    """A paired difference over seeds, in the unit of the values."""

    difference: float
    """The mean over seeds."""
    sd: float | None
    """Standard deviation of the seeds' differences (ddof = 1), 0 if they are equal; None with one seed."""
    low: float | None
    """Lower end of the uncorrected 95 % t-interval; None with one seed."""
    high: float | None
    """Upper end."""
    p: float | None
    """Uncorrected p of the sign-flip test; None with one seed."""
    p_corrected: float | None
    """p of the max-T test over the family; None with one seed or without a correction."""
    verdict: Verdict
    seeds_needed: int | None
    """Seeds that give a verdict with probability 80 % at this spread (`_seeds_needed`); None if unknown or too many."""


def compare_family(
    values: npt.ArrayLike, reference: npt.ArrayLike, correction: Correction, margin: float, resamples: int
) -> list[Difference]:
    """Compare each row of `values` [rows, seeds] with `reference` [seeds], paired by seed; larger is better.

    `margin` is the largest irrelevant difference, in the unit of the values; `resamples` is the number of sign vectors
    drawn with more than 16 seeds. Raises ValueError for non-finite numbers.
    """
    rows = np.asarray(values, dtype=np.float64)
    differences = paired_differences(rows, np.broadcast_to(np.asarray(reference, dtype=np.float64), rows.shape))
    return decide_family(differences, correction, margin, resamples)


def decide_family(
    differences: npt.NDArray[np.float64], correction: Correction, margin: float, resamples: int
) -> list[Difference]:
    """Decide on the paired `differences` [rows, seeds] of a family together; positive is better.

    `margin` and `resamples` are those of `compare_family`.
    """
    means = differences.mean(axis=1).tolist()
    if differences.shape[1] == 1:
        return [Difference(mean, None, None, None, None, None, "inconclusive", None) for mean in means]
    spreads = deviation(differences).tolist()
    low, high = (ends.tolist() for ends in t_interval(differences, 1 - SIGNIFICANT))
    raw = sign_flip_p(differences, resamples).tolist()
    corrected = max_t_p(differences, resamples).tolist() if correction == "max-t" else [None] * len(raw)
    tests = len(raw) if correction == "max-t" else 1
    found = []
    for i, (p, of_family) in enumerate(zip(raw, corrected, strict=True)):
        verdict: Verdict = "inconclusive"
        if differences.shape[1] >= FEWEST_SEEDS:
            verdict = decide(low[i], high[i], p if of_family is None else of_family, margin)
        needed = _seeds_needed(means[i], spreads[i], margin, tests)
        found.append(Difference(means[i], spreads[i], low[i], high[i], p, of_family, verdict, needed))
    return found


def decide(low: float, high: float, p: float, margin: float) -> Verdict:
    """Return the verdict on a difference from its 95 % interval [`low`, `high`] and the deciding p-value.

    better or worse: p <= 0.05 and the interval excludes 0. within-margin: otherwise, the interval lies inside
    ± `margin`.
    """
    if p <= SIGNIFICANT and (low > 0 or high < 0):
        return "better" if low > 0 else "worse"
    return "within-margin" if -margin < low and high < margin else "inconclusive"


def _seeds_needed(difference: float, sd: float, margin: float, tests: int) -> int | None:
    """Return the number of seeds that shows a difference of this size, or of `margin` if that is larger.

    If it is smaller than `margin`, they can also show equivalence within the margin, if it holds.
    """
    to_show = seeds_to_show(max(abs(difference), margin), sd, SIGNIFICANT, tests)
    if abs(difference) > margin or to_show is None:
        return to_show
    to_bound = seeds_to_bound(margin, sd, SIGNIFICANT)
    return None if to_bound is None else max(to_show, to_bound)
