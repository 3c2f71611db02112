"""The balance score: criteria brought to [0, 1] and combined with their signs (paper section "Measurer")."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from bss.balance.checks import require

Criterion = Literal[
    "prediction_similarity", "logit_similarity", "feature_similarity", "training_loss", "gradient_magnitude"
]
Normalisation = Literal["min-max", "robust"]
Floats = npt.NDArray[np.float64]

SIGNS: dict[str, int] = {
    "prediction_similarity": 1,
    "logit_similarity": 1,
    "feature_similarity": 1,
    "training_loss": -1,
    "gradient_magnitude": -1,
}
"""+1 if a high value means balanced, -1 if it means imbalanced."""

ROBUST_QUANTILES = (0.02, 0.98)
"""The robust normalisation clips to these before min-max: one outlier no longer compresses the rest."""


def min_max(values: npt.ArrayLike) -> Floats:
    """Map `values` ([n], finite) linearly to [0, 1]; if all are equal, they map to 0."""
    values = np.asarray(values, dtype=np.float64)
    low, high = values.min(), values.max()
    if high == low:
        return np.zeros_like(values)
    # Halved before subtracting, so that the span of two huge values of opposite sign stays finite.
    result: Floats = values / 2
    result -= low / 2
    result /= high / 2 - low / 2
    return np.clip(result, 0.0, 1.0, out=result)


def robust_min_max(values: npt.ArrayLike) -> Floats:
    """Clip `values` ([n], finite) to their 2 % and 98 % quantiles, then map to [0, 1]."""
    values = np.asarray(values, dtype=np.float64)
    low, high = np.quantile(values, ROBUST_QUANTILES)
    if low == high:  # almost all values are equal: clipping would hide the few that differ
        return min_max(values)
    return min_max(np.clip(values, low, high))


@dataclass(frozen=True)
class BalanceScore:
    """``score = sum of sign * normalised criterion``; high means balanced (easy), low imbalanced (hard).

    With the paper's pair (prediction similarity, training loss) the score lies in [-1, 1].
    """

    criteria: tuple[Criterion, ...] = ("prediction_similarity", "training_loss")
    """The criteria to combine, each at most once."""
    normalisation: Normalisation = "min-max"
    """min-max as in the paper, or robust: clipped to the 2 % and 98 % quantiles first."""

    def __post_init__(self) -> None:
        """Check that the criteria are known and not repeated."""
        right = f"one or more of {', '.join(SIGNS)}, each once"
        known = all(name in SIGNS for name in self.criteria)
        unique = len(set(self.criteria)) == len(self.criteria)
        require(bool(self.criteria) and known and unique, "criteria", self.criteria, right)
        require(
            self.normalisation in ("min-max", "robust"),
            "normalisation",
            self.normalisation,
            "min-max or robust",
        )

    @property
    def range(self) -> tuple[int, int]:
        """The smallest and the largest possible score."""
        signs = [SIGNS[name] for name in self.criteria]
        return -signs.count(-1), signs.count(1)

    def __call__(self, values: Mapping[str, npt.ArrayLike]) -> Floats:
        """Combine the criteria's values into one score per sample.

        Parameters
        ----------
        values : for each criterion in `criteria` an array [n] of floats. A value that is not finite
            counts as the most imbalanced one of its criterion, with a ``RuntimeWarning``.

        Returns
        -------
        float64 [n], within `range`.

        Raises
        ------
        ValueError
            A criterion is missing, the lengths differ, nothing was measured, or no value of a
            criterion is finite.
        """
        score: Floats | None = None
        for name in self.criteria:
            if name not in values:
                raise ValueError(f"the score needs the criterion `{name}`, but got only: {sorted(values)}")
            column = np.asarray(values[name], dtype=np.float64)
            require(column.ndim == 1 and len(column) > 0, name, column.shape, "an array [n] with n of at least 1")
            part = self._normalise(name, column)
            part *= SIGNS[name]
            if score is not None and len(part) != len(score):
                raise ValueError(f"`{name}` has {len(part)} values, the other criteria {len(score)}")
            if score is None:
                score = part
            else:
                score += part
        assert score is not None
        return score

    def _normalise(self, name: str, column: Floats) -> Floats:
        finite = np.isfinite(column)
        if not finite.any():
            raise ValueError(f"no value of `{name}` is finite: the network that measured it has diverged")
        normalise = min_max if self.normalisation == "min-max" else robust_min_max
        if finite.all():
            return normalise(column)
        count = int((~finite).sum())
        message = f"{count} of {len(column)} values of `{name}` are not finite: treated as the most imbalanced"
        warnings.warn(message, RuntimeWarning, stacklevel=3)
        result = np.full(len(column), 0.0 if SIGNS[name] > 0 else 1.0)
        result[finite] = normalise(column[finite])
        return result


def smooth(previous: npt.ArrayLike | None, measured: npt.ArrayLike, beta: float) -> Floats:
    """``(1 - beta) * previous + beta * measured``; the first measurement stands as it is (paper, BSS-L).

    `previous` and `measured` are [n]; `beta` lies in [0, 1] and 1 means no smoothing.
    """
    measured = np.asarray(measured, dtype=np.float64)
    if previous is None:
        return measured.copy()
    result: Floats = (1 - beta) * np.asarray(previous, dtype=np.float64) + beta * measured
    return result
