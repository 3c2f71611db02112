"""Vectors and other arrays of numbers from .npy files."""

import math
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from bss.data.decode.altered import Decoded
from bss.data.decode.bad_sample import MAX_NUMBERS, BadSampleError, reason
from bss.data.decode.contents import unreadable
from bss.data.decode.rounding import as_type, coarse

_READERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
"""Readers by format version; version 3 is for field names, which arrays of numbers do not have."""
_HEADER = Lock()
"""NumPy parses a header as a Python literal, and CPython 3.11's parser counts the depth of all threads in one variable:
two headers at once occasionally raise "AST constructor recursion depth mismatch" for valid files."""


def decode_features(path: Path) -> Decoded:
    """Return the numbers of a .npy file as float32, a scalar as shape [1]; reject pickled objects."""
    array = open_array(path)
    if array.size > MAX_NUMBERS:
        raise BadSampleError(f"holds {array.size} numbers; a sample may have at most {MAX_NUMBERS}")
    stored = as_type(array, np.float32)
    return Decoded(np.atleast_1d(stored), coarse(array, stored))


def open_array(path: Path) -> np.memmap[Any, np.dtype[Any]]:
    """Return the memory-mapped numbers of a .npy file: only the parts in use are read.

    Raises `BadSampleError` for a file that is damaged, shorter than its header says, or holds no numbers.
    """
    try:
        with path.open("rb") as file, _HEADER:
            shape, fortran_order, dtype = _READERS[np.lib.format.read_magic(file)](file)
            start, size = file.tell(), path.stat().st_size
    except Exception as error:  # damaged headers raise many types, TokenError and RecursionError among them
        raise unreadable(path, ".npy file", "array", reason(error, path)) from error
    if dtype.hasobject:
        raise BadSampleError("not a .npy file of numbers: it holds pickled objects")
    if dtype.kind not in "fiub" or 0 in shape:
        raise BadSampleError("not a .npy array of numbers")
    # Before anything is allocated; in Python integers, which do not overflow.
    if min(shape, default=1) < 0 or start + math.prod(shape) * dtype.itemsize > size:
        raise BadSampleError("not a readable .npy file (shorter than its header says)")
    order: Any = "F" if fortran_order else "C"
    try:
        return np.memmap(path, dtype, "r", start, shape, order)
    except Exception as error:  # more than 32 dimensions, or the file changed meanwhile
        raise unreadable(path, ".npy file", "array", reason(error, path)) from error
