"""The exception that decoders raise for unusable files, and the limits that bound memory."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

MAX_PIXELS = 89_478_485
"""Maximum number of pixels of one image or frame before resizing: Pillow's decompression-bomb limit."""


MAX_NUMBERS = 1 << 28
"""Maximum number of numbers in one array of features: 1 GiB as float32."""


class BadSampleError(Exception):
    """A file cannot be used; the message gives the reason in a few words, without terminal control characters."""

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


def printable(text: str) -> str:
    r"""Return `text` with control characters and lone surrogates escaped, such as \x1b and \udcff.

    Names and values come from outside: terminals would obey the former, and files cannot encode the latter.
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def reason(error: BaseException, path: Path) -> str:
    """Return the error's last line without the folder of `path`, which differs between machines."""
    text = str(error).replace(str(path), path.name).strip()
    reason = (text.splitlines() or [""])[-1].split(": ")[-1].rstrip(".")[:100]
    if "does not exist" in reason:  # libsndfile says so for any unknown format
        return "unknown format"
    return reason or type(error).__name__


def named(value: str) -> str:
    """Return the first 100 characters of a manifest path or text, for messages."""
    return printable(value[:100])


def is_panic(error: BaseException) -> bool:
    """Return whether a Rust library (tokenizers, safetensors) panicked; its exception is not an `Exception`."""
    return type(error).__name__ == "PanicException"


def require_pixels(width: int, height: int) -> None:
    """Raise `BadSampleError` if an image or frame exceeds the limit."""
    if width * height > MAX_PIXELS:
        raise BadSampleError("too many pixels")


def finite(numbers: Array) -> Array:
    """Return `numbers`; raise `BadSampleError` if some are not finite."""
    if not np.isfinite(numbers).all():
        raise BadSampleError(f"holds values that are not finite in {numbers.dtype}")
    return numbers
