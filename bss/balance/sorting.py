"""Stable sorting of many numbers: what ``numpy.argsort(keys, kind="stable")`` returns, several times as fast."""

from itertools import pairwise

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

FEW = 1 << 17
"""So many keys are sorted before torch is imported."""
PART = 1 << 25
"""Keys that are sorted at a time, about: they decide how much memory sorting takes beside keys and result."""
CELLS = 2**31 - 1
"""Equal parts of the keys' range, numbered by int32."""
PASSES = 16
"""Over the keys that share a cell, before they are taken for too crowded."""


def stable_argsort(keys: npt.ArrayLike) -> Indices:
    """Return the positions of `keys` [n] from the least to the greatest, equal ones in their order, int64 [n].

    `keys` are floats, none of them NaN. More than `PART` of them are sorted range by range, so that the memory
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
    """Sort by cells of equal width, which integers number and a radix sort orders, then within the cells."""
    if len(keys) <= FEW:
        return np.argsort(keys, kind="stable").astype(np.int64)
    low, high = keys.min(), keys.max()
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        scale = CELLS / (high - low)
    if not 0 < scale < np.inf:  # all equal, or too far apart for the arithmetic below
        return np.argsort(keys, kind="stable").astype(np.int64)
    scaled = keys - low
    scaled *= scale
    cells = scaled.astype(np.int32)  # rounding never changes which of two keys is in the greater cell
    del scaled
    values, order = _radix_sort(cells)
    shared = np.flatnonzero(values[1:] == values[:-1])
    return order if _sort_cells(keys, order, shared) else np.argsort(keys, kind="stable").astype(np.int64)


def _radix_sort(cells: npt.NDArray[np.int32]) -> tuple[npt.NDArray[np.int32], Indices]:
    """Return `cells` sorted, and the positions that they come from, equal ones in their order.

    By one thread: several would wait for each other in each pass, which wins little where each has a processor of
    its own, and takes many times as long where they have to share.
    """
    import torch  # not above: most plans are of few samples, and importing it takes longer than making them

    from bss.balance.one_thread import one_thread

    with one_thread():
        values, order = torch.sort(torch.from_numpy(cells), stable=True)
    return values.numpy(), order.numpy()


def _sort_cells(keys: Floats, order: Indices, shared: Indices) -> bool:
    """Exchange neighbours in `order` at `shared` and the place behind it until they are sorted, in place.

    Returns whether that took no more than `PASSES`.
    """
    halves = [shared[shared % 2 == parity] for parity in (0, 1)]  # those of a half do not overlap
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
