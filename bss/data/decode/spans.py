"""Select the frames of a sample from its file."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from bss.data.decode.bad_sample import BadSampleError

Indices = npt.NDArray[np.int64]

MAX_MOMENTS = 10_000_000
"""Maximum number of sampling points: four days at 25 per second."""


@dataclass(frozen=True)
class Span:
    """Part of a file, in frames counted from 0; the end is excluded, None means the file's own."""

    start: int | None = None
    end: int | None = None


WHOLE = Span()


def spread(available: int, count: int) -> Indices:
    """Return the middle ones of `count` equal parts of ``range(available)``, int64 [count], in order.

    Frame i is number ``floor((2 i + 1) available / (2 count))``; with fewer frames than `count`, some are
    repeated.
    """
    return (2 * np.arange(count) + 1) * available // (2 * count)


def thin(times: npt.NDArray[np.float64], rate: float) -> Indices:
    """Return the frames on screen at 0, 1 / rate, 2 / rate, ... seconds after the first, int64.

    `times` are the frames' timestamps in seconds, ascending, float64 [frames]; a frame is shown until the
    next one. Raises `BadSampleError` for implausible timestamps.
    """
    last = times[-1] - times[0]
    if len(times) > 1 and not last > 0:
        raise BadSampleError("all frames have the same timestamp: the timestamps are damaged")
    if not last * rate < MAX_MOMENTS:
        raise BadSampleError(f"the frames are {last:.3g} seconds apart: their timestamps are damaged")
    # A frame due at 1 s may be stamped 1.0000001: tolerate half a millisecond.
    moments = np.arange(int(np.floor((last + 5e-4) * rate)) + 1) / rate
    return np.searchsorted(times - times[0], moments + 5e-4, side="right").astype(np.int64) - 1


def consecutive(
    available: int, span: Span, count: int, short: Literal["pad", "tile"], long: Literal["start", "centre"]
) -> Indices:
    """Return `count` consecutive frames of the part `span` of ``range(available)``, int64 [count].

    Raises `BadSampleError` if the file ends before the part does.
    """
    start = 0 if span.start is None else span.start
    end = available if span.end is None else span.end
    if not start < end <= available:
        raise BadSampleError(f"has {available} frames, but the manifest asks for frames {start} to {end}")
    length = end - start
    if length >= count:
        first = start + ((length - count) // 2 if long == "centre" else 0)
        return np.arange(first, first + count)
    numbers = np.arange(count)
    return start + (numbers % length if short == "tile" else np.minimum(numbers, length - 1))
