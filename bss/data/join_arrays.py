"""Join the arrays of several stores block by block, in bounded memory."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bss.data.array_file import ArrayReader, ArrayWriter
from bss.data.decode.features import open_array

BLOCK_BYTES = 16 << 20
"""Block size in bytes; a block has at least one row."""


def join_arrays(parts: Sequence[Path], path: Path) -> None:
    """Concatenate the arrays `parts` (a.npy), all of one shape and dtype, into `path`."""
    readers = [ArrayReader(part) for part in parts]
    writer = ArrayWriter(path, readers[0].shape[1:], readers[0].dtype)
    row_bytes = readers[0].row_bytes
    most = max(1, BLOCK_BYTES // row_bytes)
    memory = np.empty(most * row_bytes, dtype=np.uint8)
    for reader in readers:
        for first in range(0, reader.shape[0], most):
            count = min(most, reader.shape[0] - first)
            block = memory[: count * row_bytes]
            reader.read(first, count, block.data)
            writer.append(block.view(writer.dtype).reshape(count, *writer.shape))
    writer.close()


def join_ends(parts: Sequence[Path], path: Path) -> None:
    """Write the end of each sound in the joined array, from the ends in `parts`, one file per array."""
    joined, total = [], 0
    for part in parts:
        joined.append(open_array(part) + total)
        total = int(joined[-1][-1])
    np.save(path, np.concatenate(joined))
