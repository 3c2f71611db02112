"""Convert numbers to the store's dtype: reject too large ones, count coarsely rounded ones."""

from typing import Any

import numpy as np
import numpy.typing as npt

from bss.data.decode.altered import Alteration
from bss.data.decode.bad_sample import BadSampleError, finite


def as_type(numbers: npt.NDArray[Any], dtype: type[np.floating[Any]]) -> npt.NDArray[Any]:
    """Return `numbers` as `dtype`, C-contiguous; raise `BadSampleError` if some are not finite or beyond its range."""
    with np.errstate(over="ignore"):
        converted = np.array(numbers, dtype=dtype, order="C")
    if not np.isfinite(converted).all() and np.isfinite(numbers).all():
        limit = np.finfo(dtype).max
        raise BadSampleError(
            f"holds values that overflow {np.dtype(dtype)}: the largest is {_largest(numbers):.6g}, the limit "
            f"{limit:.6g}; scale them"
        )
    return finite(converted)


def coarse(numbers: npt.NDArray[Any], stored: npt.NDArray[Any]) -> tuple[Alteration, ...]:
    """Return the precision that `numbers` lost in `stored`, their copy in a shorter floating-point type.

    Counts numbers so large that the type has steps of 2 or more, and those that became 0. The type's relative
    rounding of all numbers in between is not an alteration.
    """
    kind = np.finfo(stored.dtype)
    start = float(2 ** (kind.nmant + 1))
    if numbers.dtype == stored.dtype or (numbers.dtype.kind in "iub" and _largest(numbers) <= start):
        return ()
    changed = stored.astype(np.float64) != numbers
    large, none = changed & (np.abs(stored) >= start), changed & (stored == 0)
    return (
        Alteration(f"rounded to {stored.dtype}, which has steps of 2 or more there", *_counted(numbers, large)),
        Alteration(f"rounded to 0: {stored.dtype} ends at {kind.smallest_subnormal:.0e}", *_counted(numbers, none)),
    )


def _counted(numbers: npt.NDArray[Any], which: npt.NDArray[np.bool_]) -> tuple[int, float]:
    count = int(np.count_nonzero(which))
    return count, _largest(numbers[which]) if count else 0.0


def _largest(numbers: npt.NDArray[Any]) -> float:
    """Return the largest magnitude; in Python integers, because the smallest integer has no positive counterpart."""
    return max(abs(float(numbers.max())), abs(float(numbers.min())))
