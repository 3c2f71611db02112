"""Stable sorting of many numbers: what ``numpy.argsort(keys, kind="stable")`` returns, several times as fast."""

from itertools import pairwise

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

FEW = 1 << 17
"""Up to this many keys are sorted without importing torch."""
PART = 1 << 25
"""Approximate chunk size in keys; determines the memory used besides keys and result."""
CELLS = 2**31 - 1
"""Equal parts of the keys' range, numbered by int32."""
PASSES = 16
"""Exchange passes over keys that share a cell, before the cells count as too crowded."""


def stable_argsort(keys: npt.ArrayLike) -> Indices:
    """Return the stable ascending argsort of `keys` [n], int64 [n].

    `keys` are floats without NaN. More than `PART` of them are sorted range by range, so that the memory
    besides `keys` and the result does not grow with n, unless most of the keys are equal.
    """
    keys = np.asarray(keys, dtype=np.float64)
    n = len(keys)
    if n <= PART:
        return _sort_part(keys)
    parts = -(-n // PART)
    sample = keys[:: max(1, n // (256 * parts))]
    edges = np.unique(np.quantile(sample, np.arange(1, parts) / parts, method="lower"))
    order = np.empty(n, dtype=np.int64)
    filled = 0
    for low, high in pairwise([None, *edges, None]):
        inside = np.ones(n, dtype=np.bool_) if low is None else keys >= low
        if high is not None:
            inside &= keys < high
        part = np.flatnonzero(inside)
        del inside
        order[filled : filled + len(part)] = part[_sort_part(keys[part])]
        filled += len(part)
    return order


def _sort_part(keys: Floats) -> Indices:
    """Sort by integer cells of equal width with a radix sort, then within the cells."""
    if len(keys) <= FEW:
        return np.argsort(keys, kind="stable").astype(np.int64)
    low, high = keys.min(), keys.max()
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        scale = CELLS / (high - low)
    if not 0 < scale < np.inf:  # all equal, or too far apart for the arithmetic below
        return np.argsort(keys, kind="stable").astype(np.int64)
    scaled = keys - low
    scaled *= scale
    cells = scaled.astype(np.int32)  # rounding is monotonic: the larger key never gets the smaller cell
    del scaled
    values, order = _radix_sort(cells)
    shared = np.flatnonzero(values[1:] == values[:-1])
    return order if _sort_cells(keys, order, shared) else np.argsort(keys, kind="stable").astype(np.int64)


def _radix_sort(cells: npt.NDArray[np.int32]) -> tuple[npt.NDArray[np.int32], Indices]:
    """Return `cells` sorted stably, and their original positions.

    Single-threaded: threads would wait for each other in each pass, which gains little if each has its own
    processor, and takes many times as long if they share one.
    """
    import torch  # not above: most plans are small, and importing torch takes longer than making them

    from bss.balance.one_thread import one_thread

    with one_thread():
        values, order = torch.sort(torch.from_numpy(cells), stable=True)
    return values.numpy(), order.numpy()


def _sort_cells(keys: Floats, order: Indices, shared: Indices) -> bool:
    """Swap neighbours in `order` at `shared` and the position after it until they are sorted, in place.

    Returns whether that took at most `PASSES` passes.
    """
    halves = [shared[shared % 2 == parity] for parity in (0, 1)]  # pairs within a half do not overlap
    for _ in range(PASSES):
        exchanged = False
        for places in halves:
            first, second = order[places], order[places + 1]
            wrong = keys[first] > keys[second]
            if wrong.any():
                exchanged = True
                order[places[wrong]], order[places[wrong] + 1] = second[wrong], first[wrong]
        if not exchanged:
            return True
    return False
