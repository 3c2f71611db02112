"""Images."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from bss.data.decode.bad_sample import MAX_PIXELS, BadSampleError, reason, require_pixels

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
"""What is opened, whatever a file is called. Other formats run programs (EPS), or take any bytes for an image."""
MAX_SCANS = 32
"""Of a progressive JPEG of the largest size, and more of a smaller one: it has about ten, each goes over all pixels."""


class Size(Protocol):
    """Height, width and channels (1 or 3) that images are brought to."""

    @property
    def height(self) -> int: ...
    @property
    def width(self) -> int: ...
    @property
    def channels(self) -> int: ...


def decode_image(path: Path, size: Size) -> npt.NDArray[np.uint8]:
    """Return the image upright, grey or RGB, resized bilinearly where its size differs.

    uint8 [channels, height, width].
    """
    from PIL import ImageOps

    with open_image(path) as opened:
        return to_pixels(_in_bytes(ImageOps.exif_transpose(opened), opened.format), size)


@contextmanager
def open_image(path: Path) -> Iterator[Any]:
    """Give the image (``PIL.Image.Image``) with its header read alone; its pixels come when the block asks for them.

    Raises `BadSampleError` for another format than those of `FORMATS`, for what would decode into more than the
    limits, and for whatever is raised in the block: damage shows when the pixels are read.
    """
    from PIL import Image

    try:
        with Image.open(path, formats=FORMATS) as opened:
            # Pillow itself only warns up to twice its limit, and warnings cannot be turned into errors in
            # one thread alone.
            require_pixels(opened.width, opened.height)
            if opened.format in ("JPEG", "MPO") and opened.info.get("progressive"):
                _require_scans(path, opened.width * opened.height)
            yield opened
    except BadSampleError:
        raise
    except Image.DecompressionBombError as error:
        raise BadSampleError("too many pixels") from error
    except Exception as error:  # damaged files raise many types
        raise BadSampleError(f"not a readable image ({reason(error, path)})") from error


def _in_bytes(image: Any, format: str | None) -> Any:
    """Return `image` with pixels of 8 bits; Pillow itself would clip wider ones at 255."""
    from PIL import Image

    wide = image.mode.startswith("I;16") or (image.mode == "I" and format == "PPM")
    if image.mode in ("I", "F") and not wide:
        raise BadSampleError("has pixels of 32 bits; save it with 8 or 16")
    return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)) if wide else image


def _require_scans(path: Path, pixels: int) -> None:
    scans = path.read_bytes().count(b"\xff\xda")
    if scans * pixels > MAX_SCANS * MAX_PIXELS:
        raise BadSampleError(f"a progressive JPEG of {scans} scans")


def to_pixels(image: "Image", size: Size) -> npt.NDArray[np.uint8]:
    """Return `image` grey or RGB, resized bilinearly where its size differs, uint8 [channels, height, width]."""
    from PIL import Image

    image = image.convert("L" if size.channels == 1 else "RGB")
    if image.size != (size.width, size.height):
        image = image.resize((size.width, size.height), Image.Resampling.BILINEAR)
    pixels = np.asarray(image)
    return pixels[None] if size.channels == 1 else np.ascontiguousarray(pixels.transpose(2, 0, 1))
