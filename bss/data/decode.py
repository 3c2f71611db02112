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
    try:
        found = path.is_file()
        empty = found and path.stat().st_size == 0
    except OSError as error:  # a name that is too long, a folder that may not be entered
        raise BadSampleError(f"not accessible ({error.strerror})") from error
    if not found:
        raise BadSampleError("file not found")
    if empty:
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
    except Exception as error:  # damaged files raise many types, MemoryError for a false length among them
        raise BadSampleError(f"not a readable sound file ({_reason(error, path)})") from error
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
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as opened:
            # Pillow itself only warns up to twice its limit, and warnings cannot be turned into errors in
            # one thread alone.
            if Image.MAX_IMAGE_PIXELS is not None and opened.width * opened.height > Image.MAX_IMAGE_PIXELS:
                raise BadSampleError("too many pixels")
            image = ImageOps.exif_transpose(opened)
            if image.mode.startswith("I;16"):  # 16 bits per pixel: Pillow would clip at 255
                image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
            image = image.convert("L" if kind.channels == 1 else "RGB")
            if image.size != (kind.width, kind.height):
                image = image.resize((kind.width, kind.height), Image.Resampling.BILINEAR)
            pixels = np.asarray(image)
    except BadSampleError:
        raise
    except Image.DecompressionBombError as error:
        raise BadSampleError("too many pixels") from error
    except Exception as error:  # damaged files raise many types
        raise BadSampleError(f"not a readable image ({_reason(error, path)})") from error
    return pixels[None] if kind.channels == 1 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def decode_features(path: Path) -> npt.NDArray[np.float32]:
    """Return the numbers of a .npy file as float32; pickled objects are refused."""
    try:
        with path.open("rb") as file:
            array = np.lib.format.read_array(file, allow_pickle=False)
    except Exception as error:  # damaged headers raise many types, MemoryError and TokenError among them
        raise BadSampleError(f"not a readable .npy file ({_reason(error, path)})") from error
    if array.dtype.kind not in "fiub" or array.size == 0:
        raise BadSampleError("not a .npy array of numbers")
    with np.errstate(over="ignore"):
        numbers = array.astype(np.float32)
    if not np.isfinite(numbers).all():
        raise BadSampleError("holds values that are not finite in float32")
    return numbers


def _reason(error: BaseException, path: Path) -> str:
    """Return the error's last line without the folder of `path`, which differs between machines."""
    text = str(error).replace(str(path), path.name).strip()
    return (text.splitlines() or [type(error).__name__])[-1].split(": ")[-1].rstrip(".")[:100]
