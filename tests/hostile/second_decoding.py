"""Sounds decoded a second time, by a library or a program that did not decode them the first time."""

import io
import struct
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
import soundfile
import soxr
from ffmpeg_command import Job, decode_by_command

from bss.config.modalities import AudioKind
from bss.data.sounds import to_float

SAME = 2e-5
"""Largest difference of two decoders, and of a part that is resampled from the same part of the whole."""
NOTHING = 0, np.zeros(0, dtype=np.float32)


class Accepted(NamedTuple):
    """A sound that bss decoded."""

    data: bytes
    kind: AudioKind
    decoded: Any
    """As it is stored."""


def compare_sounds(accepted: list[Accepted], format: str, folder: Path) -> tuple[int, int]:
    """Assert that each sound is what another decoder makes of the file.

    Return how many the first of the others could decode, and how many none of them.

    The second one is asked if the first one refuses a damaged file, or takes its header at its word:

    - uncompressed: FFmpeg's library, which drops the fraction of a sample rate (CAF's is a float), then `by_layout`;
    - FLAC: libsndfile, which believes the header's number of samples and sample rate, then the ffmpeg command, which,
      like bss, believes the frames;
    - Ogg Vorbis: sox (libvorbisfile). FFmpeg is wrong about the length of these short files;
    - MP3: the ffmpeg command. libsndfile (mpg123) takes another number of samples away from the start if the header
      with the encoder's delay is damaged.
    """
    first = {"FLAC": by_libsndfile, "OGG": by_sox, "MP3": None}.get(format, by_library)
    second = _by_command if format in ("FLAC", "MP3") else lambda files, _: [by_layout(f, format) for f in files]
    left = [] if first else accepted
    if first:
        found = {sound.data: first(sound.data) for sound in accepted}
        left = [sound for sound in accepted if difference(sound, *found[sound.data]) > SAME]
    files = list(dict.fromkeys(sound.data for sound in left))
    again = dict(zip(files, second(files, folder), strict=True))
    alone = 0
    for sound in left:
        rate, mono = again[sound.data]
        alone += not rate
        # libsndfile drops the fraction of AIFF's sample rates and rounds that of CAF's.
        same = not rate or any(difference(sound, whole, mono) <= SAME for whole in (int(rate), round(rate)))
        assert same, f"{format}: no other decoder gives the same"
    return len(accepted) - len(left), alone


def difference(sound: Accepted, rate: int, mono: Any) -> float:
    """Return the largest difference of a sound and the second decoding; infinite if their lengths differ."""
    kind = sound.kind
    if not len(mono):
        return np.inf
    start = max(0, (len(mono) * kind.sample_rate // rate - kind.samples) // 2) if kind.long == "centre" else 0
    if rate != kind.sample_rate:
        mono = soxr.resample(mono.astype(np.float32), rate, kind.sample_rate)
    expected = np.clip(mono[start : start + kind.samples], -1, 1)
    if len(expected) != len(sound.decoded):
        return np.inf
    found = float(np.abs(to_float(sound.decoded) - expected).max())
    # The filter is longer than the second of sound that bss decodes beyond the part, where that is a few samples.
    return found / 100 if rate < 100 else found


def _by_command(files: list[bytes], folder: Path) -> list[tuple[int, Any]]:
    jobs = []
    for number, data in enumerate(files):
        path = folder / f"{number}.sound"
        path.write_bytes(data)
        demuxer = "flac" if data.startswith(b"fLaC") else "mp3"
        output = ("-map", "INPUT:a:0", "-f", "au", "-c:a", "pcm_f32be")
        jobs.append(Job(path, ("-f", demuxer), output))
    return [au_sound(written) for written in decode_by_command(jobs, folder)]


def au_sound(data: bytes) -> tuple[int, Any]:
    """Return sample rate and mono sound of an AU file of float32."""
    if len(data) <= 24:
        return NOTHING
    start, _, _, rate, channels = struct.unpack(">5I", data[4:24])
    return rate, np.frombuffer(data[start:], ">f4").reshape(-1, channels).mean(axis=1)


def by_sox(data: bytes) -> tuple[int, Any]:
    """Return sample rate and mono sound of an Ogg Vorbis file."""
    command = ["sox", "-V1", "-t", "ogg", "-", "-t", "au", "-e", "floating-point", "-b", "32", "-"]
    return au_sound(subprocess.run(command, input=data, capture_output=True, check=False, timeout=60).stdout)


def by_libsndfile(data: bytes) -> tuple[int, Any]:
    """Return sample rate and mono sound."""
    try:
        sound, rate = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
    except Exception:  # of damaged files it raises many types
        return NOTHING
    return rate, sound.mean(axis=1)


def by_library(data: bytes) -> tuple[int, Any]:
    """Return sample rate and mono sound as FFmpeg's library decodes it."""
    rate, blocks = 0, []
    to_planes = av.AudioResampler(format="fltp")
    try:
        with av.open(io.BytesIO(data)) as container:
            for packet in container.demux(audio=0):
                try:
                    frames = packet.decode()
                except (av.error.InvalidDataError, av.error.EOFError):  # the rest of a packet at the end
                    continue
                for frame in frames:
                    rate = frame.sample_rate
                    blocks += [part.to_ndarray().mean(axis=0) for part in to_planes.resample(frame)]
    except Exception:  # of damaged files it raises many types
        return NOTHING
    return rate, np.concatenate(blocks) if blocks else NOTHING[1]


LAYOUTS = {
    "WAV": (22, "<H", 24, "<I", 44, "<i2"),
    "AIFF": (20, ">H", 28, ">HQ", 54, ">i2"),
    "AU": (20, ">I", 16, ">I", 24, ">i2"),
    "W64": (66, "<H", 68, "<I", 104, "<i2"),
    "CAF": (44, ">I", 20, ">d", -6000, ">i2"),
}
"""Where libsndfile writes the number of channels, the rate and the 16-bit samples, and their types."""


def by_layout(data: bytes, format: str) -> tuple[float, Any]:
    """Return sample rate and mono sound, all read from the places where the undamaged file has them."""
    channels_at, channels_type, rate_at, rate_type, start, samples_type = LAYOUTS[format]
    (channels,) = struct.unpack_from(channels_type, data, channels_at)
    *exponent, rate = struct.unpack_from(rate_type, data, rate_at)
    if exponent:  # an 80-bit float: exponent and mantissa
        rate *= 2.0 ** (exponent[0] - 16_383 - 63)
    samples = np.frombuffer(data[start : len(data) - (len(data) - start) % 2], samples_type) / 32_768
    whole = samples[: len(samples) // channels * channels]
    return rate, whole.reshape(-1, channels).mean(axis=1, dtype=np.float32)
