"""Images."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from bss.data.decode.bad_sample import BadSampleError, reason, require_pixels

if TYPE_CHECKING:
    from PIL.Image import Image


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
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as opened:
            # Pillow itself only warns up to twice its limit, and warnings cannot be turned into errors in
            # one thread alone.
            require_pixels(opened.width, opened.height)
            image: Any = ImageOps.exif_transpose(opened)
            if image.mode.startswith("I;16"):  # 16 bits per pixel: Pillow would clip at 255
                image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
            return to_pixels(image, size)
    except BadSampleError:
        raise
    except Image.DecompressionBombError as error:
        raise BadSampleError("too many pixels") from error
    except Exception as error:  # damaged files raise many types
        raise BadSampleError(f"not a readable image ({reason(error, path)})") from error


def to_pixels(image: "Image", size: Size) -> npt.NDArray[np.uint8]:
    """Return `image` grey or RGB, resized bilinearly where its size differs, uint8 [channels, height, width]."""
    from PIL import Image

    image = image.convert("L" if size.channels == 1 else "RGB")
    if image.size != (size.width, size.height):
        image = image.resize((size.width, size.height), Image.Resampling.BILINEAR)
    pixels = np.asarray(image)
    return pixels[None] if size.channels == 1 else np.ascontiguousarray(pixels.transpose(2, 0, 1))
