"""Sound: from sound files through libsndfile, from video files through FFmpeg."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bss.config.modalities import AudioKind
from bss.data.decode.bad_sample import BadSampleError, finite, reason
from bss.data.decode.container import SUFFIXES, decode_track
from bss.data.sounds import Stored, to_int16

Sound = npt.NDArray[np.float32]

BLOCK = 65_536
"""Samples per channel in memory before they are mixed to mono."""
MAX_RATE = 768_000
"""Hz; a header that tells more is damaged."""


def decode_audio(path: Path, kind: AudioKind) -> Stored:
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
        mono = soxr.resample(mono, rate, kind.sample_rate)
    mono = mono[start - first // rate * kind.sample_rate :]
    if len(mono) == 0:  # the filter swallows a sample or two of a very short sound
        raise BadSampleError("holds too little sound to be resampled")
    sound = np.clip(mono[:length], -1, 1)
    return to_int16(sound) if kind.stored == "int16" else sound


@contextmanager
def _open_file(path: Path) -> Iterator[Any]:
    import soundfile

    try:
        with soundfile.SoundFile(path) as file:
            yield file
    except BadSampleError:
        raise
    except Exception as error:  # damaged files raise many types, MemoryError for a false length among them
        raise BadSampleError(f"not a readable sound file ({reason(error, path)})") from error


def _measure_file(path: Path, with_length: bool) -> tuple[int, int]:
    """Return the sample rate and, where it is asked for, the number of samples per channel, else 0."""
    with _open_file(path) as file:
        return file.samplerate, file.frames if with_length else 0


def _read_file(path: Path, first: int, last: int) -> Sound:
    with _open_file(path) as file:
        file.seek(first)
        blocks = file.blocks(BLOCK, frames=last - first, dtype="float32", always_2d=True)
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
    for frame, _ in decode_track(path, "audio"):
        if frame.sample_rate != (rate or frame.sample_rate):
            raise BadSampleError("changes its sample rate")
        rate = frame.sample_rate
        for part in to_float.resample(frame):
            yield rate, part.to_ndarray().mean(axis=0)


def _joined(blocks: Iterator[Sound]) -> Sound:
    return np.concatenate([np.zeros(0, dtype=np.float32), *blocks])
