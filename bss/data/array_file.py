""".npy files written and read row by row."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bss.data.decode.bad_sample import BadSampleError
from bss.data.decode.features import open_array
from bss.errors import BssError

Array = npt.NDArray[Any]


class ArrayWriter:
    """A .npy file [n, *shape] that grows along its first axis; readable after it is closed."""

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.shape, self.dtype, self.rows = shape, dtype, 0
        self._file = path.open("wb")
        self._write_header()

    def append(self, rows: Array) -> None:
        """Append `rows` [k, *shape]."""
        assert rows.shape[1:] == self.shape
        assert rows.dtype == self.dtype
        self._file.write(np.ascontiguousarray(rows).data)
        self.rows += len(rows)

    def close(self) -> None:
        """Write the number of rows to the header."""
        self._file.seek(0)
        self._write_header()
        self._file.close()

    def _write_header(self) -> None:
        # Its length does not depend on the number of rows: NumPy leaves room for it to grow.
        header = {"descr": self.dtype.str, "fortran_order": False, "shape": (self.rows, *self.shape)}
        np.lib.format.write_array_header_1_0(self._file, header)


class ArrayReader:
    """A .npy file [n, *shape] whose rows are read into the caller's memory; thread-safe.

    Raises `BadSampleError` if it is not such a file.
    """

    def __init__(self, path: Path) -> None:
        array = open_array(path)
        if array.ndim == 0 or not array.flags.c_contiguous:
            raise BadSampleError("not an array with contiguous rows")
        self.path, self.shape, self.dtype = path, array.shape, array.dtype
        self.row_bytes = array.itemsize * int(np.prod(array.shape[1:], dtype=np.int64))
        self._start = array.offset
        self._file = path.open("rb", buffering=0)

    def read(self, first: int, count: int, out: memoryview) -> None:
        """Read the rows `first` to `first + count` into the bytes `out`.

        A system call, which releases the GIL while it waits for the disk, and reads ahead.
        """
        place, size = self._start + first * self.row_bytes, count * self.row_bytes
        done = 0
        while done < size:
            got = os.preadv(self._file.fileno(), [out[done:size]], place + done)
            if got == 0:
                raise BssError(f"{self.path}: ends before its last row; it changed since it was opened.")
            done += got
