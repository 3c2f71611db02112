"""Sound: from sound files through libsndfile, from video files through FFmpeg."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bss.config.modalities import AudioKind
from bss.data.decode.altered import Alteration, Decoded
from bss.data.decode.bad_sample import BadSampleError, finite, reason
from bss.data.decode.container import SUFFIXES, decode_track, readable
from bss.data.decode.contents import require_content, unreadable
from bss.data.sounds import to_int16

Sound = npt.NDArray[np.float32]

CLIPPED = "clipped to [-1, 1]"
"""What happens to values beyond full scale."""
BLOCK = 65_536
"""Samples per channel in memory before they are mixed to mono."""
MAX_RATE = 768_000
"""Hz; a header that tells more is damaged."""
UNKNOWN_SIZE = 0x7FFF0000
"""Bytes; this and more is what programs write for sound whose length they do not know yet."""


def decode_audio(path: Path, kind: AudioKind) -> Decoded:
    """Return the sound mixed to mono, resampled, cut where it is longer than `kind` says, clamped to [-1, 1].

    float32 or, scaled, int16 [samples]. Of a longer file only the part that is kept is in memory.
    """
    import soxr

    length = kind.samples
    measure, read = (
        (_measure_container, _read_container) if path.suffix.lower() in SUFFIXES else (_measure_file, _read_file)
    )
    rate, available = measure(path, kind.long == "centre")
    if not 0 < rate <= MAX_RATE:
        raise BadSampleError(f"has a sample rate of {rate} Hz")
    start = max(0, (available * kind.sample_rate // rate - length) // 2)
    # A whole second more at each end, so that the resampling filter sees what is there.
    first = max(0, start * rate // kind.sample_rate - rate) // rate * rate
    last = (start + length) * rate // kind.sample_rate + 1 + rate
    mono = finite(read(path, first, last))
    if len(mono) == 0:
        raise BadSampleError("holds no sound (0 samples)")
    if rate != kind.sample_rate:
        mono = finite(soxr.resample(mono, rate, kind.sample_rate))
    mono = mono[start - first // rate * kind.sample_rate :]
    if len(mono) == 0:  # the filter swallows a sample or two of a very short sound
        raise BadSampleError("holds too little sound to be resampled")
    return _clipped(mono[:length], kind.stored)


def _clipped(sound: Sound, stored: str) -> Decoded:
    """Return `sound` as it is stored, with the values outside of [-1, 1] clipped and counted."""
    magnitudes = np.abs(sound)
    altered = Alteration(CLIPPED, int(np.count_nonzero(magnitudes > 1)), float(magnitudes.max()))
    clipped = np.clip(sound, -1, 1)
    return Decoded(to_int16(clipped) if stored == "int16" else clipped, (altered,))


@contextmanager
def _open_file(path: Path) -> Iterator[Any]:
    import soundfile

    require_content(path, "sound file", "sound", near="video")
    try:
        with soundfile.SoundFile(path) as file:
            yield file
    except BadSampleError:
        raise
    except Exception as error:  # damaged files raise many types, MemoryError for a false length among them
        raise unreadable(path, "sound file", "sound", reason(error, path)) from error


def _measure_file(path: Path, with_length: bool) -> tuple[int, int]:
    """Return the sample rate and, where it is asked for, the number of samples per channel, else 0."""
    with _open_file(path) as file:
        _require_whole(file.extra_info)
        return file.samplerate, file.frames if with_length else 0


def _require_whole(told: str) -> None:
    """Raise `BadSampleError` where libsndfile's notes on a header tell that a hundredth of the sound is missing.

    Else the rest would count as silence. Sizes that programs write when they cannot go back are no sizes.
    """
    for declared, found in re.findall(r"(?:data|SSND|Data Size)\s*: (\d+) \(should be (\d+)\)", told):
        if 0.99 * int(declared) > int(found) and int(declared) < UNKNOWN_SIZE:
            raise BadSampleError(f"cut off: {found} of {declared} bytes of sound are there")


def _read_file(path: Path, first: int, last: int) -> Sound:
    with _open_file(path) as file:
        file.seek(first)
        blocks = file.blocks(BLOCK, frames=last - first, dtype="float32", always_2d=True)
        with np.errstate(invalid="ignore", over="ignore"):
            return _joined(block.mean(axis=1) for block in blocks)


def _measure_container(path: Path, with_length: bool) -> tuple[int, int]:
    rate = length = 0
    for told, block in _container_blocks(path):
        rate = told
        if not with_length:
            break
        length += len(block)
    if rate == 0:
        raise BadSampleError("holds no sound (0 samples)")
    return rate, length if with_length else 0


def _read_container(path: Path, first: int, last: int) -> Sound:
    def kept() -> Iterator[Sound]:
        position = 0
        for _, block in _container_blocks(path):
            yield block[max(0, first - position) : max(0, last - position)]
            position += len(block)
            if position >= last:
                return

    return _joined(kept())


def _container_blocks(path: Path) -> Iterator[tuple[int, Sound]]:
    """Yield the sample rate and a block of mono sound, over and over."""
    import av

    to_float = av.AudioResampler(format="fltp")
    rate = None
    with readable(path, "audio"):
        for frame, _ in decode_track(path, "audio"):
            if frame.sample_rate != (rate or frame.sample_rate):
                raise BadSampleError("changes its sample rate")
            rate = frame.sample_rate
            for part in to_float.resample(frame):  # which refuses one of another layout or type than the first
                yield rate, part.to_ndarray().mean(axis=0)


def _joined(blocks: Iterator[Sound]) -> Sound:
    return np.concatenate([np.zeros(0, dtype=np.float32), *blocks])
