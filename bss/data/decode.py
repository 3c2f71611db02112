"""Decoding one file of a modality into an array of fixed shape and type."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bss.config.schema import AudioKind, FeaturesKind, ImageKind

Array = npt.NDArray[Any]


class BadSampleError(Exception):
    """A file cannot be used; the message says why in a few words."""


def decode(path: Path, kind: AudioKind | ImageKind | FeaturesKind) -> Array:
    """Decode `path` as its modality's kind says.

    Returns
    -------
    audio: float32 [samples] in [-1, 1]; image: uint8 [channels, height, width]; features: float32 of the
    file's shape.

    Raises
    ------
    BadSampleError
        The file is missing, empty, unreadable, or holds values that are not finite.
    """
    if not path.is_file():
        raise BadSampleError("file not found")
    if path.stat().st_size == 0:
        raise BadSampleError("file is empty")
    if isinstance(kind, AudioKind):
        return decode_audio(path, kind)
    return decode_image(path, kind) if isinstance(kind, ImageKind) else decode_features(path)


def decode_audio(path: Path, kind: AudioKind) -> npt.NDArray[np.float32]:
    """Return the sound mixed to mono, resampled, cut or filled to `kind`'s length, clamped to [-1, 1]."""
    import soundfile
    import soxr

    try:
        channels, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (RuntimeError, OSError) as error:  # libsndfile's errors are RuntimeErrors
        raise BadSampleError(f"not a readable sound file ({_reason(error)})") from error
    if len(channels) == 0:
        raise BadSampleError("holds no sound (0 samples)")
    mono = channels.mean(axis=1)
    if not np.isfinite(mono).all():
        raise BadSampleError("holds values that are not finite")
    if rate != kind.sample_rate:
        mono = soxr.resample(mono, rate, kind.sample_rate)
    return np.clip(fit_length(mono, round(kind.seconds * kind.sample_rate), kind.short), -1, 1)


def fit_length(sound: npt.NDArray[np.float32], length: int, short: str) -> npt.NDArray[np.float32]:
    """Cut `sound` at its end, or fill it to `length`: `short` is pad (with silence) or tile (repeat it)."""
    if len(sound) >= length:
        return sound[:length]
    if short == "tile":
        return np.resize(sound, length)
    return np.pad(sound, (0, length - len(sound)))


def decode_image(path: Path, kind: ImageKind) -> npt.NDArray[np.uint8]:
    """Return the image upright, grey or RGB, resized bilinearly where its size differs."""
    import warnings

    from PIL import Image, ImageOps

    try:
        with warnings.catch_warnings(), Image.open(path) as opened:
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = ImageOps.exif_transpose(opened)
            if image.mode.startswith("I;16"):  # 16 bits per pixel: Pillow would clip at 255
                image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
            image = image.convert("L" if kind.channels == 1 else "RGB")
            if image.size != (kind.width, kind.height):
                image = image.resize((kind.width, kind.height), Image.Resampling.BILINEAR)
            pixels = np.asarray(image)
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise BadSampleError("too many pixels") from error
    except (OSError, ValueError, SyntaxError) as error:  # what Pillow raises for broken files
        raise BadSampleError(f"not a readable image ({_reason(error)})") from error
    return pixels[None] if kind.channels == 1 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def decode_features(path: Path) -> npt.NDArray[np.float32]:
    """Return the numbers of a .npy file as float32; pickled objects are refused."""
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise BadSampleError(f"not a readable .npy file ({_reason(error)})") from error
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiub" or array.size == 0:
        raise BadSampleError("not a .npy array of numbers")
    numbers = array.astype(np.float32)
    if not np.isfinite(numbers).all():
        raise BadSampleError("holds values that are not finite in float32")
    return numbers


def _reason(error: BaseException) -> str:
    """Return the error's last line, without the path, which the caller names."""
    return (str(error).strip().splitlines() or [type(error).__name__])[-1].split(": ")[-1].rstrip(".")[:100]
