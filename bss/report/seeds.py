"""Number of seeds that a comparison needs, from the spread of paired differences; see docs/statistics.md."""

from math import ceil, log2

import numpy as np
import numpy.typing as npt

POWER = 0.8
"""Power to plan for."""
MOST_SEEDS = 1000
"""Largest plan."""
FAR = 30.0
"""From this centre of the noncentral t on, the power is 1 and its series fails."""


def fewest_seeds(alpha: float) -> int:
    """Return the smallest n with which a sign-flip test can reach `alpha`: its smallest p is 2 / 2^n."""
    return ceil(log2(2 / alpha))


def seeds_to_show(difference: float, sd: float, alpha: float, rows: int = 1) -> int | None:
    """Return the number of seeds that shows a true `difference` with power `POWER`; None beyond `MOST_SEEDS`.

    `sd` is the standard deviation of the paired differences, in the unit of `difference`, which is not 0; `alpha` is
    the level of the two-sided test for all of `rows` together (each then gets ``alpha / rows``, the Bonferroni bound).
    The power is that of the paired t-test on normal differences, from the noncentral t-distribution without its tail
    on the wrong side; the sign-flip test comes close from one seed above the minimum, so plans start there.
    """
    return _least_seeds(POWER, abs(difference), sd, alpha, rows)


def seeds_to_bound(margin: float, sd: float, alpha: float) -> int | None:
    """Return the number of seeds that shows equivalence within ± `margin` for no difference, with power `POWER`.

    The interval of level ``1 - alpha`` must lie inside, so each of its ends is a one-sided test. The probability that
    both hold is at least 1 minus the probabilities that either fails (Phillips, 1990). None beyond `MOST_SEEDS`.
    """
    return _least_seeds((1 + POWER) / 2, margin, sd, alpha, 1)


def _least_seeds(power: float, difference: float, sd: float, alpha: float, rows: int) -> int | None:
    if sd == 0:
        return fewest_seeds(alpha)
    n = np.arange(fewest_seeds(alpha) + 1, MOST_SEEDS + 1)  # at the minimum only one sign vector reaches alpha
    reached = _power(n, difference / sd, alpha / rows) >= power
    return int(n[reached.argmax()]) if reached.any() else None


def _power(n: npt.NDArray[np.int64], effect: float, alpha: float) -> npt.NDArray[np.float64]:
    """Return P(T > critical) of the noncentral t with n - 1 degrees of freedom and centre ``sqrt(n) * effect``."""
    from scipy import special

    centre = np.minimum(np.sqrt(n) * effect, FAR)
    below: npt.NDArray[np.float64] = special.nctdtr(n - 1.0, centre, special.stdtrit(n - 1.0, 1 - alpha / 2))
    return 1 - below
