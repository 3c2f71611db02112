"""Images."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from bss.data.decode.altered import Decoded
from bss.data.decode.bad_sample import MAX_PIXELS, BadSampleError, reason, require_pixels
from bss.data.decode.contents import unreadable
from bss.data.decode.transparency import grey_of_16_bits, on_white, only_inside, repair_key
from bss.data.decode.wide_pixels import depth, wide_image

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
"""Formats to open, whatever the file name. Others run programs (EPS) or accept any bytes as an image."""
MAX_SCANS = 32
"""Maximum number of scans of a progressive JPEG of the largest size; smaller ones may have more. Ten are normal."""


class Size(Protocol):
    """Target height, width and channels (1 or 3)."""

    @property
    def height(self) -> int: ...
    @property
    def width(self) -> int: ...
    @property
    def channels(self) -> int: ...


def decode_image(path: Path, size: Size) -> Decoded:
    """Return the image upright (EXIF), on white if it is transparent, grey or RGB, resized bilinearly to `size`.

    uint8 [channels, height, width]. Animations yield their first frame.
    """
    from PIL import ImageOps

    with open_image(path) as opened:
        bits = depth(opened, path)
        image = ImageOps.exif_transpose(_loaded(opened))
        return Decoded(to_pixels(_opaque(image, opened.format), size), wide_image(image, bits))


@contextmanager
def open_image(path: Path) -> Iterator[Any]:
    """Yield the image (``PIL.Image.Image``) with only its header read; the block loads the pixels.

    Raises `BadSampleError` for a format not in `FORMATS`, for images larger than the
    limits, and for any exception in the block: damage shows when the pixels are read.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        # Not by name: Pillow would memory-map the file, and mapped TIFFs with a rotation get swapped sides.
        with path.open("rb") as file, Image.open(file, formats=FORMATS) as opened:
            # Pillow itself only warns up to twice its limit, and warnings cannot become errors in just one
            # thread.
            require_pixels(opened.width, opened.height)
            if opened.format in ("JPEG", "MPO") and opened.info.get("progressive"):
                _require_scans(path, opened.width * opened.height)
            yield opened
    except BadSampleError:
        raise
    except Image.DecompressionBombError as error:
        raise BadSampleError("too many pixels") from error
    except UnidentifiedImageError as error:
        raise unreadable(path, "image", "image", "cannot identify its format") from error
    except Exception as error:  # damaged files raise many types
        raise unreadable(path, "image", "image", reason(error, path)) from error


def _loaded(opened: Any) -> Any:
    """Load the pixels of the opened image and correct its transparency."""
    tile = opened.tile[0] if opened.tile else None  # unavailable after loading
    if opened.format == "TIFF":
        _require_all_pixels(opened)
    opened.load()
    if tile and opened.format == "PNG":
        repair_key(opened, str(tile.args))
    if tile and opened.format == "GIF":  # outside its first frame viewers show the background, Pillow the first colour
        return only_inside(on_white(opened), tile.extents)
    return opened


def _require_all_pixels(opened: Any) -> None:
    """Raise `BadSampleError` if the strips or tiles of a TIFF do not cover it: Pillow leaves the rest black."""
    covered = sum((right - left) * (lower - upper) for left, upper, right, lower in (t.extents for t in opened.tile))
    if covered < opened.width * opened.height:
        raise BadSampleError(f"cut off: {covered} of {opened.width * opened.height} pixels found")


def _opaque(image: Any, format: str | None) -> Any:
    """Return `image` with opaque 8-bit pixels; Pillow itself would clip wider ones at 255."""
    from PIL import Image

    if image.mode.startswith("I;16") or (image.mode == "I" and format == "PPM"):
        return Image.fromarray(grey_of_16_bits(image))
    if image.mode in ("I", "F"):
        raise BadSampleError("has 32-bit pixels; save it with 8 or 16 bits")
    return on_white(image)


def _require_scans(path: Path, pixels: int) -> None:
    scans = path.read_bytes().count(b"\xff\xda")
    if scans * pixels > MAX_SCANS * MAX_PIXELS:
        raise BadSampleError(f"a progressive JPEG with {scans} scans")


def to_pixels(image: "Image", size: Size) -> npt.NDArray[np.uint8]:
    """Return `image` in grey or RGB, resized bilinearly if needed, uint8 [channels, height, width]."""
    from PIL import Image

    image = image.convert("L" if size.channels == 1 else "RGB")
    if image.size != (size.width, size.height):
        image = image.resize((size.width, size.height), Image.Resampling.BILINEAR)
    pixels = np.asarray(image)
    return pixels[None] if size.channels == 1 else np.ascontiguousarray(pixels.transpose(2, 0, 1))
