"""Transparency: composite transparent images on white."""

from typing import Any

import numpy as np
import numpy.typing as npt

from bss.data.decode.bad_sample import BadSampleError

GROUND = 255
"""White: the background that most transparent drawings assume."""


def on_white(image: Any) -> Any:
    """Composite the `PIL.Image.Image` on white; return an opaque one unchanged.

    Handles alpha channels (straight and premultiplied), transparent palette entries and PNG's transparent colour.
    """
    from PIL import Image

    if not image.has_transparency_data:
        return image
    straight = {"La": "LA", "RGBa": "RGBA"}.get(image.mode, image.mode)  # Pillow loses alpha from La to RGBA
    layer = image.convert(straight).convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), layer).convert("RGB")


def only_inside(image: Any, box: tuple[int, int, int, int]) -> Any:
    """Return `image` with white outside `box` (left, upper, right, lower)."""
    from PIL import Image

    if box == (0, 0, *image.size):
        return image
    canvas = Image.new("RGB", image.size, "white")
    canvas.paste(image.crop(box).convert("RGB"), box[:2])
    return canvas


def grey_of_16_bits(image: Any) -> npt.NDArray[np.uint8]:
    """Return the upper 8 bits of 16-bit grey pixels, uint8 [height, width]; PNG's transparent value becomes white."""
    pixels = np.asarray(image)
    grey = (pixels >> 8).astype(np.uint8)
    if "transparency" in image.info:
        grey[pixels == image.info["transparency"]] = GROUND
    return grey


def repair_key(image: Any, packing: str) -> None:
    """Correct the transparent colour of a PNG, which Pillow reads unscaled; `packing` is its raw mode.

    Raises `BadSampleError` for 3 x 16-bit colours: Pillow keeps 8 bits, so they can no longer be compared.
    """
    key = image.info.get("transparency")
    if packing in ("L;2", "L;4") and isinstance(key, int):
        image.info["transparency"] = key * (255 // (2 ** int(packing[-1]) - 1))
    if packing == "RGB;16B" and key is not None:
        raise BadSampleError("has a 16-bit transparent colour; save it with an alpha channel or 8 bits")
