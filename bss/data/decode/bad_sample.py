"""What every decoder raises for a file that cannot be used, and the limits that keep memory bounded."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

MAX_PIXELS = 89_478_485
"""Of one image or frame before resizing: Pillow's own limit, beyond which it suspects a decompression bomb."""


class BadSampleError(Exception):
    """A file cannot be used; the message says why in a few words."""


def reason(error: BaseException, path: Path) -> str:
    """Return the error's last line without the folder of `path`, which differs between machines."""
    text = str(error).replace(str(path), path.name).strip()
    return (text.splitlines() or [type(error).__name__])[-1].split(": ")[-1].rstrip(".")[:100]


def require_file(path: Path) -> None:
    """Raise `BadSampleError` unless `path` is a file that holds something."""
    try:
        found = path.is_file()
        empty = found and path.stat().st_size == 0
    except OSError as error:  # a name that is too long, a folder that may not be entered
        raise BadSampleError(f"not accessible ({error.strerror})") from error
    if not found:
        raise BadSampleError("a folder, not a file" if path.is_dir() else "file not found")
    if empty:
        raise BadSampleError("file is empty")


def require_pixels(width: int, height: int) -> None:
    """Raise `BadSampleError` for an image or frame that is larger than the limit."""
    if width * height > MAX_PIXELS:
        raise BadSampleError("too many pixels")


def finite(numbers: Array) -> Array:
    """Return `numbers`; raise `BadSampleError` where some are not finite."""
    if not np.isfinite(numbers).all():
        raise BadSampleError(f"holds values that are not finite in {numbers.dtype}")
    return numbers
