"""Vectors and other arrays of numbers from .npy files."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from bss.data.decode.bad_sample import BadSampleError, finite, reason


def decode_features(path: Path) -> npt.NDArray[np.float32]:
    """Return the numbers of a .npy file as float32; pickled objects are refused."""
    try:
        with path.open("rb") as file:
            array = np.lib.format.read_array(file, allow_pickle=False)
    except Exception as error:  # damaged headers raise many types, MemoryError and TokenError among them
        raise BadSampleError(f"not a readable .npy file ({reason(error, path)})") from error
    if array.dtype.kind not in "fiub" or array.size == 0:
        raise BadSampleError("not a .npy array of numbers")
    with np.errstate(over="ignore"):
        return finite(array.astype(np.float32))
