"""Stored samples as small pictures."""

import base64
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from bss.data.decode.spans import spread
from bss.data.sounds import Stored, to_float
from bss.data.store import Modality

Pixels = npt.NDArray[np.uint8]

LARGEST = 128
"""Longer side of a picture in pixels; larger ones are scaled down."""
SHOWN = 4
"""Frames shown per sample."""
WINDOW = 256
"""Maximum number of samples per column of a spectrogram."""


def picture(modality: Modality, sample: npt.NDArray[Any]) -> str | None:
    """Return a stored sample as a ``data:`` URL of a PNG; None for text, which is shown as text."""
    pixels = still(modality, sample)
    return None if pixels is None else _data_address(pixels)


def still(modality: Modality, sample: npt.NDArray[Any]) -> Pixels | None:
    """Return a stored sample as one picture, uint8 [height, width, 3]; None for text.

    Sound is shown as its spectrogram, low frequencies at the bottom; of frames and flows a few are set side
    by side; in a flow the colour shows the direction and its strength the distance; other numbers are a strip
    from low (dark) to high.
    """
    if modality.kind == "text":
        return None
    makers: dict[str, Callable[[npt.NDArray[Any]], Pixels]]
    makers = {"audio": spectrogram, "image": image, "frames": frames, "clip": frames, "flow": flows}
    return makers.get(modality.kind, strip)(sample)


def spectrogram(sound: Stored) -> Pixels:
    """Return the log-magnitude spectrogram of a stored sound [samples] in colours, uint8 [height, width, 3]."""
    from scipy.signal import ShortTimeFFT
    from scipy.signal.windows import hann

    window = min(WINDOW, max(2, len(sound) // 4))
    transform = ShortTimeFFT(hann(window, sym=False), hop=max(1, len(sound) // LARGEST), fs=1.0)
    padded = np.pad(to_float(sound).astype(np.float64), (0, max(0, window - len(sound))))
    strength = np.log10(np.abs(transform.stft(padded)) + 1e-5)
    return _coloured(strength[::-1])


def image(pixels: Pixels) -> Pixels:
    """Return uint8 [channels, height, width] as [height, width, 3]."""
    return np.broadcast_to(pixels.transpose(1, 2, 0), (*pixels.shape[1:], 3)).astype(np.uint8)


def frames(stack: Pixels) -> Pixels:
    """Return a few of uint8 [frames, channels, height, width] side by side, [height, width, 3]."""
    return np.concatenate([image(stack[i]) for i in _some(len(stack))], axis=1)


def flows(stack: npt.NDArray[np.float16]) -> Pixels:
    """Return a few of float16 [frames, 2, height, width] side by side, in colours, uint8 [height, width, 3]."""
    return np.concatenate(list(coloured_flows(stack[_some(len(stack))])), axis=1)


def coloured_flows(stack: npt.NDArray[np.float16]) -> Pixels:
    """Return float16 [frames, 2, height, width] in colours, uint8 [frames, height, width, 3]."""
    from matplotlib.colors import hsv_to_rgb

    right, down = stack.astype(np.float64).transpose(1, 0, 2, 3)
    length = np.hypot(right, down)
    hue = np.arctan2(-down, right) / (2 * np.pi) % 1
    return _bytes(hsv_to_rgb(np.stack([hue, np.ones_like(hue), length / max(length.max(), 1e-6)], axis=-1)))


def strip(numbers: npt.NDArray[Any]) -> Pixels:
    """Return numbers of any shape as a strip of colours, uint8 [height, width, 3]."""
    flat = numbers.reshape(-1).astype(np.float64)
    width = min(len(flat), LARGEST)
    return _coloured(np.repeat(flat[spread(len(flat), width)][None], max(1, width // 8), axis=0))


def _some(count: int) -> list[int]:
    return np.unique(spread(count, min(count, SHOWN))).tolist()


def _coloured(values: npt.NDArray[np.float64]) -> Pixels:
    from matplotlib import colormaps

    low, high = values.min(), values.max()
    return _bytes(colormaps["viridis"]((values - low) / max(high - low, 1e-9))[..., :3])


def _bytes(colours: npt.NDArray[np.float64]) -> Pixels:
    return np.rint(255 * colours).astype(np.uint8)


def _data_address(pixels: Pixels) -> str:
    from PIL import Image

    picture = Image.fromarray(pixels)
    # The row of frames may be wider than high: each frame may have the full size.
    limit = LARGEST * max(1, min(SHOWN, round(picture.width / picture.height)))
    picture.thumbnail((limit, LARGEST))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
