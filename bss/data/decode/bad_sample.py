"""What every decoder raises for a file that cannot be used, and the limits that keep memory bounded."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

MAX_PIXELS = 89_478_485
"""Of one image or frame before resizing: Pillow's own limit, beyond which it suspects a decompression bomb."""


MAX_NUMBERS = 1 << 28
"""Of one array of features: 1 GiB as float32."""


class BadSampleError(Exception):
    """A file cannot be used; the message says why in a few words, with nothing that a terminal would obey."""

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


def printable(text: str) -> str:
    r"""Return `text` with control characters and halves of characters written out, such as \x1b and \udcff.

    They come from names and values that are not ours: terminals would obey the ones, no file takes the others.
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def reason(error: BaseException, path: Path) -> str:
    """Return the error's last line without the folder of `path`, which differs between machines."""
    text = str(error).replace(str(path), path.name).strip()
    told = (text.splitlines() or [""])[-1].split(": ")[-1].rstrip(".")[:100]
    if "does not exist" in told:  # libsndfile says so of any file that it cannot make out
        return "its format is not known"
    return told or type(error).__name__


def named(value: str) -> str:
    """Return the manifest's path or text as messages repeat it: its first 100 letters."""
    return printable(value[:100])


def is_panic(error: BaseException) -> bool:
    """Return whether a library in Rust (tokenizers, safetensors) gave up; its exception is no `Exception`."""
    return type(error).__name__ == "PanicException"


def require_pixels(width: int, height: int) -> None:
    """Raise `BadSampleError` for an image or frame that is larger than the limit."""
    if width * height > MAX_PIXELS:
        raise BadSampleError("too many pixels")


def finite(numbers: Array) -> Array:
    """Return `numbers`; raise `BadSampleError` where some are not finite."""
    if not np.isfinite(numbers).all():
        raise BadSampleError(f"holds values that are not finite in {numbers.dtype}")
    return numbers
