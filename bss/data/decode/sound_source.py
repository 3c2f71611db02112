"""The samples of a sound, block by block: uncompressed ones through libsndfile, most others through FFmpeg.

The length declared in a header is used only for uncompressed sound, where libsndfile checks it against the size of the
file. Otherwise we count decoded samples: libsndfile itself would stop at an estimated length.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bss.data.decode.bad_sample import BadSampleError, reason
from bss.data.decode.container import FORMATS, MAX_SAMPLES, SUFFIXES, decode_track, readable
from bss.data.decode.contents import require_content, unreadable
from bss.data.decode.mp3_header import declared_samples
from bss.data.decode.ogg_pages import count_streams

Samples = npt.NDArray[np.float32]

BLOCK = 65_536
"""Samples per channel that libsndfile reads at once."""
MAX_RATE = 768_000
"""Largest plausible sample rate in Hz."""
UNKNOWN_SIZE = 0x7FFF0000
"""Bytes; programs write this or more while the length is still unknown."""
SOUND_SUFFIXES: dict[str, tuple[str, ...]]
SOUND_SUFFIXES = {".aac": ("aac",), ".mka": ("matroska,webm",), ".weba": ("matroska,webm",), ".wma": ("asf",)}
"""Audio-only files that libsndfile cannot read, with FFmpeg's format names."""
MAGIC = {b"OggS": "ogg", b"fLaC": "flac"}
"""First four bytes of compressed formats, with FFmpeg's names."""
STREAMS = {"MP3": "mp3", "OGG": "ogg", "FLAC": "flac", "VOC": "voc"}
"""Formats that FFmpeg reads better: libsndfile's names and FFmpeg's.

In VOC files with several blocks libsndfile reads the block headers as sound.
"""
GSM_BLOCK = (65, 320)
"""Bytes and samples of a block of GSM in WAV."""
MP3_DELAY = 5 * 1152
"""Samples that decoders drop at the ends of an MP3: the encoder's delay and padding, and the first frames
of a file cut from a longer one, which refer to data before the cut."""
WRAPPED = (b"\x72\xf8\x1f\x4e", b"\xfe\x7f\x01\x80", b"\x7f\xfe\x80\x01", b"\xff\x1f\x00\xe8", b"\x1f\xff\xe8\x00")
"""Beginnings of the frames of S/PDIF (IEC 61937) and DTS (ETSI TS 102 114) as 16-bit samples."""


def measure_sound(path: Path) -> tuple[int, int]:
    """Return the sample rate in Hz and the number of samples per channel that can be decoded."""
    formats = _ffmpeg_formats(path)
    if formats is None:
        with _open_file(path) as file:
            return _plausible(file.samplerate), _frames_of(file)
    rate = length = 0
    for found, block in _track_blocks(path, formats):
        rate, length = found, length + len(block)
    return rate, length


def sound_blocks(path: Path, first: int = 0) -> Iterator[tuple[int, Samples]]:
    """Yield the sample rate and float32 [samples, channels], block by block from sample `first` to the end.

    Raises `BadSampleError` for a file that cannot be decoded, and at its end if it holds less
    than declared.
    """
    formats = _ffmpeg_formats(path)
    if formats is None:
        yield from _file_blocks(path, first)
        return
    position = 0
    for rate, block in _track_blocks(path, formats):
        position += len(block)
        if position > first:
            yield rate, block[max(0, len(block) - (position - first)) :]


def _ffmpeg_formats(path: Path) -> tuple[str, ...] | None:
    """Return the formats for FFmpeg to read the file as; None if libsndfile reads it."""
    if path.suffix.lower() in SUFFIXES:
        return FORMATS
    if path.suffix.lower() in SOUND_SUFFIXES:
        return SOUND_SUFFIXES[path.suffix.lower()]
    with path.open("rb") as opened:
        found = MAGIC.get(opened.read(4))
    if found is not None and not (found == "ogg" and _is_one_page(path)):
        return (found,)
    with _open_file(path) as file:
        if file.format == "OGG":
            return None
        _require_whole(file.extra_info)
        _require_samples_of_sound(file)
        if file.subtype.startswith("MPEG_LAYER") and file.format != "MP3":
            return ("wav",)
        return (STREAMS[file.format],) if file.format in STREAMS else None


def _is_one_page(path: Path) -> bool:
    """Return whether the Ogg file is one Vorbis stream in a single page, which FFmpeg cuts at the wrong position."""
    streams, short = count_streams(path)
    if short and streams > 1:  # libsndfile would read only a part
        raise BadSampleError(
            f"joined from {streams} Ogg streams, one of them too short for FFmpeg to find its end "
            "(convert each to WAV before joining them)"
        )
    return bool(short)


@contextmanager
def _open_file(path: Path) -> Iterator[Any]:
    import soundfile

    require_content(path, "sound file", "sound", near="video")
    try:
        with soundfile.SoundFile(path) as file:
            yield file
    except BadSampleError:
        raise
    except Exception as error:  # damaged files raise many types, such as MemoryError for a wrong length
        raise unreadable(path, "sound file", "sound", reason(error, path)) from error


def _file_blocks(path: Path, first: int) -> Iterator[tuple[int, Samples]]:
    with _open_file(path) as file:
        rate = _plausible(file.samplerate)
        if first:
            file.seek(first)
        position, length = first, _frames_of(file)
        # Not `SoundFile.blocks`: it always returns its whole buffer.
        while len(block := file.read(min(BLOCK, max(0, length - position)), dtype="float32", always_2d=True)):
            position += len(block)
            yield rate, block
        _require_samples(position, length)


def _frames_of(file: Any) -> int:
    """Return the samples per channel of an open file. For GSM in WAV libsndfile counts a padding byte as a block."""
    size = re.search(r"^data *: (\d+)", file.extra_info, re.M)
    if (file.format, file.subtype) != ("WAV", "GSM610") or size is None:
        return int(file.frames)
    return min(int(file.frames), int(size[1]) // GSM_BLOCK[0] * GSM_BLOCK[1])


def _require_whole(notes: str) -> None:
    """Raise `BadSampleError` if libsndfile's header notes say that more than 1 % of the sound is missing.

    Otherwise the rest would become silence. Placeholder sizes of programs that cannot seek back are ignored.
    """
    for declared, found in re.findall(r"^ *(?:data|SSND|Data Size|riff)\s*: (\d+) \(should be (\d+)\)", notes, re.M):
        if 0.99 * int(declared) > int(found) and int(declared) < UNKNOWN_SIZE:
            raise BadSampleError(f"cut off: {found} of {declared} bytes of sound found")
    for found, declared in re.findall(r"Calculated frame count (\d+) does not match .* of (\d+)", notes):
        if int(declared) < MAX_SAMPLES:
            _require_samples(int(found), int(declared))
    if "Seems to be a truncated file" in notes:
        raise BadSampleError("cut off")


def _require_samples_of_sound(file: Any) -> None:
    """Raise `BadSampleError` for compressed surround sound declared as stereo samples: it would be noise."""
    if (file.channels, file.subtype) != (2, "PCM_16"):
        return
    head = file.read(BLOCK, dtype="int16").astype("<i2").tobytes()
    file.seek(0)
    if any(head.count(mark) > 2 for mark in WRAPPED):
        raise BadSampleError("holds DTS or Dolby surround sound instead of samples (decode it: ffmpeg -i FILE NEW.wav)")


def _track_blocks(path: Path, formats: tuple[str, ...]) -> Iterator[tuple[int, Samples]]:
    import av

    to_float = av.AudioResampler(format="fltp")
    rate = length = declared = 0
    with readable(path, "audio"):
        for frame, track in decode_track(path, "audio", formats):
            if frame.sample_rate != (rate or frame.sample_rate):
                raise BadSampleError("changes its sample rate")
            rate = _plausible(frame.sample_rate)
            if formats == ("flac",):
                declared = round((track.duration or 0) * track.time_base * rate)
            for part in to_float.resample(frame):  # raises if layout or type differ from the first frame's
                block = np.asarray(part.to_ndarray().T, dtype=np.float32)
                length += len(block)
                yield rate, block
    if formats == ("mp3",):
        declared = (declared_samples(path) or 0) - MP3_DELAY
    _require_samples(length, declared)


def _plausible(rate: int) -> int:
    if not 0 < rate <= MAX_RATE:
        raise BadSampleError(f"has a sample rate of {rate} Hz")
    return rate


def _require_samples(found: int, declared: int) -> None:
    if found < 0.99 * declared:
        raise BadSampleError(f"cut off: {found} of {declared} samples found")
