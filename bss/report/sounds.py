"""Stored sounds as small files that a browser plays."""

import io

import numpy as np
import soundfile

from bss.data.sounds import Stored, to_float, to_int16
from bss.report.downloads import data_url

SECONDS = 3.0
"""Longest part of a sound in the page: its start."""
RATE = 16_000
"""Highest sample rate in the page, Hz; together they bound a sound to 96 kB, before base64."""


def sound_url(sound: Stored, sample_rate: int) -> str:
    """Return the start of a stored sound [samples] at `sample_rate` Hz as a ``data:`` URL of a 16-bit WAV file."""
    return data_url(wav(sound, sample_rate, SECONDS), "audio/wav")


def wav(sound: Stored, sample_rate: int, seconds: float) -> bytes:
    """Return the first `seconds` of a stored sound [samples] as a 16-bit WAV file, at `RATE` or less."""
    values = to_float(sound[: round(seconds * sample_rate)])
    if sample_rate > RATE:
        import soxr

        values, sample_rate = soxr.resample(values, sample_rate, RATE).astype(np.float32), RATE
    buffer = io.BytesIO()
    soundfile.write(buffer, to_int16(values), sample_rate, format="WAV", subtype="PCM_16")
    return buffer.getvalue()
