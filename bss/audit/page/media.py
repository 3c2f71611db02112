"""Pictures, loops and sounds of stored samples for the page."""

import io
from typing import Any

import numpy as np
import numpy.typing as npt

from bss.data.decode.spans import spread
from bss.data.store import Modality
from bss.inspect.pictures import Pixels, coloured_flows, image, still
from bss.report.sounds import wav

Media = dict[str, bytes]
"""File name suffix (.webp or .wav) to content."""

LARGEST = 256
"""Longer side of a picture in pixels; larger ones are scaled down."""
LARGEST_FRAME = 160
"""The same of a loop."""
TINY = 64
"""Pictures up to this size are stored without loss: their pixels are looked at one by one."""
QUALITY = 80
"""WebP quality of larger pictures, up to 100."""
FRAMES = 16
"""Maximum number of frames of a loop, spread evenly over the stored ones."""
LOOP_MS = 2000
"""Length of a loop in milliseconds; the store does not know the frame rate."""
SECONDS = 10.0
"""Longest part of a sound: its start."""
TYPES = {".webp": "image/webp", ".wav": "audio/wav"}


def media_of(modality: Modality, sample: npt.NDArray[Any]) -> Media:
    """Return the media of a stored sample: a picture or a loop of its frames, and its sound; none for a text."""
    frames = _frames(modality, sample)
    found: Media = {}
    if frames is not None:
        found[".webp"] = _webp(frames)
    if modality.sample_rate is not None:
        found[".wav"] = wav(sample, modality.sample_rate, SECONDS)
    return found


def _frames(modality: Modality, sample: npt.NDArray[Any]) -> Pixels | None:
    """Return uint8 [frames, height, width, 3], one frame of what does not move; None for text."""
    if modality.kind in ("frames", "clip", "flow"):
        stack = sample[np.unique(spread(len(sample), min(len(sample), FRAMES)))]
        return coloured_flows(stack) if modality.kind == "flow" else np.stack([image(frame) for frame in stack])
    picture = still(modality, sample)
    return None if picture is None else picture[None]


def _webp(frames: Pixels) -> bytes:
    from PIL import Image

    pictures = [Image.fromarray(frame) for frame in frames]
    largest = LARGEST if len(pictures) == 1 else LARGEST_FRAME
    for picture in pictures:
        picture.thumbnail((largest, largest))
    loop: dict[str, Any] = {}
    if len(pictures) > 1:
        loop = {"save_all": True, "append_images": pictures[1:], "duration": LOOP_MS // len(pictures), "loop": 0}
    buffer = io.BytesIO()
    lossless = max(pictures[0].size) <= TINY
    pictures[0].save(buffer, "WEBP", lossless=lossless, quality=QUALITY, method=2, **loop)
    return buffer.getvalue()
