"""Video frames as players show them: rotated or mirrored by the display matrix, and on white if transparent."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from bss.data.decode.bad_sample import BadSampleError
from bss.data.decode.transparency import on_white

TOLERANCE = 1.0
"""Degrees between an axis of the picture and one of the screen that still count as parallel, as in ffmpeg."""


def as_shown(frame: Any) -> Any:
    """Return the `av.VideoFrame` as an opaque `PIL.Image.Image`, rotated and mirrored by its display matrix.

    Raises `BadSampleError` if the rotation is not a multiple of 90 degrees.
    """
    from PIL import Image

    method = _orientation_of(frame)
    has_alpha = frame.format.has_palette or any(component.is_alpha for component in frame.format.components)
    image = on_white(Image.fromarray(frame.to_ndarray(format="rgba"))) if has_alpha else frame.to_image()
    return image if method is None else image.transpose(method)


def shown_size(frame: Any) -> tuple[int, int]:
    """Return the height and width of the frame after `as_shown`."""
    from PIL.Image import Transpose

    lying = (Transpose.TRANSPOSE, Transpose.ROTATE_90, Transpose.ROTATE_270, Transpose.TRANSVERSE)
    return (frame.width, frame.height) if _orientation_of(frame) in lying else (frame.height, frame.width)


def _orientation_of(frame: Any) -> Any:
    from av.sidedata.sidedata import Type

    side_data = frame.side_data.get(Type.DISPLAYMATRIX)
    if side_data is None:
        return None
    return orientation(np.frombuffer(side_data, dtype=np.int32)[:9].reshape(3, 3))


def orientation(matrix: npt.NDArray[np.int32]) -> Any:
    """Return the `PIL.Image.Transpose` of the display matrix [3, 3], None for the identity.

    The matrix sends the point (x, y), y pointing down, to (a x + c y, b x + d y); its rows begin a, b and c, d
    (ISO/IEC 14496-12, 8.3.2). Players use it for the eight orientations and ignore scale and translation. A matrix
    that shows nothing, such as one of zeros, is no orientation.

    Raises `BadSampleError` for other angles.
    """
    from PIL.Image import Transpose

    a, b, c, d = (int(value) for value in matrix[:2, :2].flat)
    if a * d == b * c:
        return None
    slope = math.tan(math.radians(TOLERANCE))
    upright = max(abs(b), abs(c)) <= slope * min(abs(a), abs(d))
    if not upright and max(abs(a), abs(d)) > slope * min(abs(b), abs(c)):
        raise BadSampleError("the video's rotation is not a multiple of 90 degrees; rotate it upright")
    if upright:
        return {
            (False, False): None,
            (True, False): Transpose.FLIP_LEFT_RIGHT,
            (False, True): Transpose.FLIP_TOP_BOTTOM,
            (True, True): Transpose.ROTATE_180,
        }[a < 0, d < 0]
    # b maps x to the screen's y, c maps y to its x. Pillow's rotations are counterclockwise.
    return {
        (False, False): Transpose.TRANSPOSE,
        (True, False): Transpose.ROTATE_90,
        (False, True): Transpose.ROTATE_270,
        (True, True): Transpose.TRANSVERSE,
    }[b < 0, c < 0]
