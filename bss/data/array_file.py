"""Arrays in .npy files, written and read row by row.

An array larger than `FILE_BYTES` is split over several files: a.npy, a.1.npy, a.2.npy, ...
"""

import os
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from bss.data.decode.bad_sample import BadSampleError
from bss.data.decode.features import open_array
from bss.errors import BssError

Array = npt.NDArray[Any]

FILE_BYTES = 32 << 30
"""Bytes of the rows in one file, at most; one row at least.

Kubeflow's launcher uploads a file in at most 10,000 parts of 5 MiB, which is 48.8 GiB: kfp 2.17.0,
backend/src/v2/objectstore/object_store.go (uploadFile) leaves both to the AWS SDK's upload manager, whose defaults
they are.
"""


def array_files(path: Path) -> list[Path]:
    """Return the files of the array `path` (a.npy), in the order of their rows; without any, `path` alone."""
    files = [path]
    for number in count(1):
        following = _file(path, number)
        if not following.exists():
            break
        files.append(following)
    return files


def _file(path: Path, number: int) -> Path:
    return path if number == 0 else path.with_name(f"{path.stem}.{number}{path.suffix}")


class ArrayWriter:
    """An array [n, *shape] that grows along its first axis; readable after it is closed.

    Every file but the last one holds as many rows as fit, however they are appended.
    """

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.path, self.shape, self.dtype, self.rows = path, shape, dtype, 0
        self._each = max(1, FILE_BYTES // (dtype.itemsize * int(np.prod(shape, dtype=np.int64))))
        self._files = 0
        self._open()

    def append(self, rows: Array) -> None:
        """Append `rows` [k, *shape]."""
        assert rows.shape[1:] == self.shape
        assert rows.dtype == self.dtype
        done = 0
        while done < len(rows):
            if self._rows == self._each:
                self.close()
                self._open()
            part = rows[done : done + self._each - self._rows]
            self._file.write(np.ascontiguousarray(part).data)
            self._rows += len(part)
            done += len(part)
        self.rows += len(rows)

    def close(self) -> None:
        """Write the number of rows to the header."""
        self._file.seek(0)
        self._write_header()
        self._file.close()

    def _open(self) -> None:
        self._file = _file(self.path, self._files).open("wb")
        self._files, self._rows = self._files + 1, 0
        self._write_header()

    def _write_header(self) -> None:
        # Its length does not depend on the number of rows: NumPy leaves room for it to grow.
        header = {"descr": self.dtype.str, "fortran_order": False, "shape": (self._rows, *self.shape)}
        np.lib.format.write_array_header_1_0(self._file, header)


class _Part(NamedTuple):
    """One file of an array."""

    path: Path
    file: BinaryIO
    start: int
    """Bytes before its first row."""
    first: int
    """Number of its first row in the array."""
    end: int
    """Number of the row behind its last one."""


class ArrayReader:
    """An array [n, *shape] whose rows are read into the caller's memory; thread-safe.

    Raises `BadSampleError` if a file is no array, or if the files are not of one shape and type.
    """

    def __init__(self, path: Path) -> None:
        self.path, self._parts, rows = path, list[_Part](), 0
        self.shape: tuple[int, ...]
        self.dtype: np.dtype[Any]
        for file in array_files(path):
            array = open_array(file)
            if array.ndim == 0 or not array.flags.c_contiguous:
                raise BadSampleError("not an array with contiguous rows")
            kind = array.shape[1:], array.dtype
            if self._parts and kind != (self.shape[1:], self.dtype):
                raise BadSampleError(f"{file.name} holds {array.dtype} {array.shape}, unlike {path.name}")
            end = rows + len(array)
            self._parts.append(_Part(file, file.open("rb", buffering=0), array.offset, rows, end))
            self.shape, self.dtype, rows = (end, *array.shape[1:]), array.dtype, end
        self.row_bytes = self.dtype.itemsize * int(np.prod(self.shape[1:], dtype=np.int64))

    def read(self, first: int, count: int, out: memoryview) -> None:
        """Read the rows `first` to `first + count` into the bytes `out`.

        A system call, which releases the GIL while it waits for the disk, and reads ahead.
        """
        end = first + count
        for part in self._parts:
            begin, stop = max(first, part.first), min(end, part.end)
            if begin < stop:
                place = slice((begin - first) * self.row_bytes, (stop - first) * self.row_bytes)
                self._read(part, part.start + (begin - part.first) * self.row_bytes, out[place])

    def _read(self, part: _Part, place: int, out: memoryview) -> None:
        done = 0
        while done < len(out):
            got = os.preadv(part.file.fileno(), [out[done:]], place + done)
            if got == 0:
                raise BssError(f"{part.path}: ends before its last row; it has changed since it was opened.")
            done += got
