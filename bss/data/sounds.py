"""Storage of sounds with different lengths."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

FULL_SCALE = 32_768
"""1.0 in 16 bits."""

Stored = npt.NDArray[np.int16] | npt.NDArray[np.float32]


@dataclass(frozen=True)
class Sounds:
    """Concatenated sounds."""

    values: Any
    """int16 or float32 [sum of lengths], a NumPy array or a tensor."""
    lengths: npt.NDArray[np.int64]
    """Samples of each sound, [k], at least 1."""

    @cached_property
    def ends(self) -> npt.NDArray[np.int64]:
        """The end of each sound in `values`, [k]."""
        return np.cumsum(self.lengths)


def to_int16(sound: npt.NDArray[np.float32]) -> npt.NDArray[np.int16]:
    """Convert float32 [samples] in [-1, 1] to int16: rounded, with 1.0 as the largest int16."""
    return np.clip(np.rint(sound * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)


def to_float(sound: Stored) -> npt.NDArray[np.float32]:
    """Return a stored sound [samples] as float32 in [-1, 1]."""
    scale = FULL_SCALE if sound.dtype == np.int16 else 1
    return sound.astype(np.float32) / np.float32(scale)
