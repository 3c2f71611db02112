"""Sound: mixed to mono, resampled, cut, and clipped to full scale."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from bss.config.modalities import AudioKind
from bss.data.decode.altered import Alteration, Decoded
from bss.data.decode.bad_sample import BadSampleError, finite
from bss.data.decode.sound_source import measure_sound, sound_blocks
from bss.data.sounds import to_int16

Sound = npt.NDArray[np.float32]

CLIPPED = "clipped to [-1, 1]"
"""Alteration of values beyond full scale."""
CANCELLED = "cancelled by mixing to mono (channels of opposite sign: store only one of them)"
"""Alteration of a sound whose mono mix has less than a hundredth of its channels' power."""
MAX_PEAK = 4.0
"""12 dB over full scale: beyond that, the unit is wrong. Hot masters and lossy codecs exceed it by a few dB."""
UNITS = ((128, "8-bit integers", 128), (32_768, "16-bit integers", 32_768), (1 << 23, "24-bit integers", 1 << 23))
"""Largest magnitude, what such values look like, and the divisor."""


def decode_audio(path: Path, kind: AudioKind) -> Decoded:
    """Return the sound mixed to mono, resampled, cut if it is longer than `kind` says, clipped to [-1, 1].

    float32 or, scaled, int16 [samples]. Only the part that is kept is ever in memory.
    """
    import soxr

    length = kind.samples
    start = first = rate = 0
    if kind.long == "centre":
        rate, available = measure_sound(path)
        if rate:
            start = max(0, (available * kind.sample_rate // rate - length) // 2)
            # One extra second at each end, as context for the resampling filter.
            first = max(0, start * rate // kind.sample_rate - rate) // rate * rate
    parts, position, peak = [np.zeros(0, dtype=np.float32)], first, 0.0
    power = mixed = 0.0
    for rate, block in sound_blocks(path, first):
        last = (start + length) * rate // kind.sample_rate + 1 + rate
        kept = block[: last - position]
        with np.errstate(invalid="ignore", over="ignore"):
            parts.append(kept.mean(axis=1))
            power += float(np.square(kept, dtype=np.float64).sum()) / kept.shape[1]
            mixed += float(np.square(parts[-1], dtype=np.float64).sum())
            peak = max(peak, float(np.abs(kept).max()))
        position += len(kept)
        if position == last:
            break
    mono = finite(np.concatenate(parts))
    if len(mono) == 0:
        raise BadSampleError("holds no sound (0 samples)")
    require_full_scale(peak)
    if rate != kind.sample_rate:
        mono = finite(soxr.resample(mono, rate, kind.sample_rate))
    mono = mono[start - first // rate * kind.sample_rate :]
    if len(mono) == 0:  # the filter drops a sample or two of a very short sound
        raise BadSampleError("too short to be resampled")
    stored = _clipped(mono[:length], kind.stored)
    if mixed >= power / 100:
        return stored
    return Decoded(stored.array, (*stored.altered, Alteration(CANCELLED, len(stored.array), peak)))


def require_full_scale(peak: float) -> None:
    """Raise `BadSampleError` if the largest magnitude, `peak`, is far beyond full scale."""
    if peak <= MAX_PEAK:
        return
    looks, divisor = next(((name, by) for top, name, by in UNITS if peak <= top), ("32-bit integers", 1 << 31))
    or_percent = ", or percent (by 100)" if peak <= 100 else ""
    raise BadSampleError(
        f"peak {peak:.6g}, far outside [-1, 1]: looks like {looks} saved as floats (divide by {divisor}){or_percent}"
    )


def _clipped(sound: Sound, stored: str) -> Decoded:
    """Return `sound` in its stored form, with values outside [-1, 1] clipped and counted."""
    magnitudes = np.abs(sound)
    altered = Alteration(CLIPPED, int(np.count_nonzero(magnitudes > 1)), float(magnitudes.max()))
    clipped = np.clip(sound, -1, 1)
    return Decoded(to_int16(clipped) if stored == "int16" else clipped, (altered,))
