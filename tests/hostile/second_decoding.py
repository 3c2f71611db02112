"""Sounds decoded a second time, by the library that did not decode them the first time.

MP3 is decoded by the program ffmpeg: where the header with the encoder's delay is damaged, libsndfile (mpg123) and
FFmpeg take different numbers of samples away from the start.
"""

import subprocess

import av
import numpy as np
import soundfile

from bss.data.sounds import to_float

BY_LIBSNDFILE = ("FLAC", "OGG")
"""Formats that bss decodes by FFmpeg's library."""


def second_decoding(path, format):
    """Return sample rate and mono sound, float32 [samples]; a rate of 0 where the library refuses the file."""
    if format == "MP3":
        return _by_program(path)
    try:
        return _by_libsndfile(path) if format in BY_LIBSNDFILE else _by_ffmpeg(path)
    except Exception:
        return 0, np.zeros(0, dtype=np.float32)


def _by_program(path):
    command = ["ffmpeg", "-v", "quiet", "-f", "mp3", "-i", path, "-f", "au", "-c:a", "pcm_f32be", "-"]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    if len(done.stdout) <= 24:
        return 0, np.zeros(0, dtype=np.float32)
    start, _, _, rate, channels = np.frombuffer(done.stdout[4:24], ">u4").tolist()
    return rate, np.frombuffer(done.stdout[start:], ">f4").reshape(-1, channels).mean(axis=1)


def _by_libsndfile(path):
    sound, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return rate, sound.mean(axis=1)


def _by_ffmpeg(path):
    rate, blocks = 0, []
    to_planes = av.AudioResampler(format="fltp")
    with av.open(str(path)) as container:
        for packet in container.demux(audio=0):
            try:
                frames = packet.decode()
            except (av.error.InvalidDataError, av.error.EOFError):  # the rest of a packet at the end
                continue
            for frame in frames:
                rate = frame.sample_rate
                blocks += [part.to_ndarray().mean(axis=0) for part in to_planes.resample(frame)]
    return rate, np.concatenate(blocks)


def compare_decodings(decoded, path, format, rate):
    """Compare a stored sound with the second decoding; return "same", or why there is nothing to compare."""
    second_rate, second = second_decoding(path, format)
    if second_rate == 0 or len(second) == 0:
        return "refused by the other"
    if second_rate != rate:
        return "another rate"
    length = min(len(decoded), len(second))
    difference = np.abs(to_float(decoded)[:length] - np.clip(second[:length], -1, 1)).max()
    assert difference < 1e-3, f"{format}: differs by {difference}"
    return "same"
