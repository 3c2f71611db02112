"""Connected samples: those that share a group or a file, directly or through other samples."""

from collections.abc import Collection, Sequence

import numpy as np
import numpy.typing as npt


def first_of_each(keys: Sequence[Collection[object]]) -> npt.NDArray[np.int64]:
    """Return for each sample the first sample of its component, int64 [samples]; itself if it has no other.

    Two samples are connected if they share one of `keys`, or are linked by a chain of such samples.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    numbers: dict[object, int] = {}
    pairs = [(row, numbers.setdefault(key, len(numbers))) for row, own in enumerate(keys) for key in own]
    rows, columns = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    count = len(keys) + len(numbers)
    links = coo_array((np.ones(len(pairs), dtype=bool), (rows, len(keys) + columns)), shape=(count, count))
    _, parts = connected_components(links, directed=False)
    _, first, part = np.unique(parts[: len(keys)], return_index=True, return_inverse=True)
    return first[part].astype(np.int64)
