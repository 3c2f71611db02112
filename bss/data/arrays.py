"""Arrays on disk."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bss.disk import on_disk


def new_array(path: Path, dtype: npt.DTypeLike, shape: tuple[int, ...]) -> "np.memmap[Any, Any]":
    """Return a new .npy file as an array to be filled, all of its room taken at once.

    A file with holes would end the process by a signal when the disk is full. Raises `BssError`.
    """
    array = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    size = path.stat().st_size
    with on_disk(path, size), path.open("r+b") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
    return array
