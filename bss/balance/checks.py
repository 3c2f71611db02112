"""Range checks with a uniform message."""

import numpy as np
import numpy.typing as npt


def require(holds: bool, name: str, found: object, right: str) -> None:
    """Raise ``ValueError("`name` must be <right>, but got: <found>")`` unless `holds`."""
    if not holds:
        raise ValueError(f"`{name}` must be {right}, but got: {found!r}")


def sample_indices(index: npt.ArrayLike, n: int) -> npt.NDArray[np.int64]:
    """Return `index` as int64 [k]; raise ValueError unless it has integers in [0, `n`)."""
    given = np.asarray(index).reshape(-1)
    require(given.dtype.kind in "iu" or not len(given), "index", given.dtype, "integers, the samples' own indices")
    rows = given.astype(np.int64)
    inside = len(rows) == 0 or (rows.min() >= 0 and rows.max() < n)
    require(bool(inside), "index", [*rows[:3].tolist()], f"within 0 .. {n - 1}")
    return rows
