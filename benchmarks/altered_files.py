"""Sounds and pictures that are silenced, drowned in noise, or copied with slight changes: WAV and PNG files."""

import wave
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Alteration = Literal["silenced", "noise", "duplicate"]
ABOVE = 10.0
"""Deviation of the noise that drowns an input, over the input's own: 20 dB."""
BELOW = 0.01
"""The same of the noise on a copy: 40 dB below."""
GAIN = 0.8
"""Of a copy."""


def write_altered(source: Path, target: Path, alteration: Alteration, random: np.random.Generator) -> None:
    """Write an altered copy of a mono 16-bit WAV file or an 8-bit picture to `target`; ValueError for other sounds."""
    if source.suffix == ".wav":
        with wave.open(str(source)) as file:
            form = file.getparams()
            frames = file.readframes(form.nframes)
        if (form.nchannels, form.sampwidth) != (1, 2):
            raise ValueError(f"{source}: needs one channel of 16 bits, has {form.nchannels} of {8 * form.sampwidth}")
        sound = altered_sound(np.frombuffer(frames, dtype="<i2"), alteration, random)
        with wave.open(str(target), "wb") as file:
            file.setparams(form)
            file.writeframes(sound.astype("<i2").tobytes())
    else:
        from PIL import Image

        with Image.open(source) as image:
            pixels = np.asarray(image)
        Image.fromarray(altered_picture(pixels, alteration, random)).save(target)


def altered_sound(
    sound: npt.NDArray[np.int16], alteration: Alteration, random: np.random.Generator
) -> npt.NDArray[np.int16]:
    """Return int16 [samples]: dither of one step alone, `sound` under noise scaled to 90 %, or a softer copy."""
    if alteration == "silenced":
        return random.integers(-1, 2, len(sound)).astype(np.int16)
    if alteration == "noise":
        drowned = _with_noise(sound, ABOVE, random)
        return np.rint(drowned * (0.9 * 32_767 / np.abs(drowned).max())).astype(np.int16)
    return np.rint(GAIN * _with_noise(sound, BELOW, random)).clip(-32_768, 32_767).astype(np.int16)


def altered_picture(
    pixels: npt.NDArray[np.uint8], alteration: Alteration, random: np.random.Generator
) -> npt.NDArray[np.uint8]:
    """Return uint8 of the same shape: black but for the last bit, `pixels` under noise, or a darker copy."""
    if alteration == "silenced":
        return random.integers(0, 2, pixels.shape).astype(np.uint8)
    if alteration == "noise":
        drowned = _with_noise(pixels, ABOVE, random)
        low, high = drowned.min(), drowned.max()
        return np.rint(255 * (drowned - low) / (high - low)).astype(np.uint8)
    return np.rint(GAIN * _with_noise(pixels, BELOW, random)).clip(0, 255).astype(np.uint8)


def _with_noise(values: npt.NDArray[Any], ratio: float, random: np.random.Generator) -> npt.NDArray[np.float64]:
    """Return `values` with white noise, whose deviation is `ratio` times theirs, or `ratio` if they are constant."""
    noisy: npt.NDArray[np.float64] = values + ratio * (values.std() or 1.0) * random.standard_normal(values.shape)
    return noisy
