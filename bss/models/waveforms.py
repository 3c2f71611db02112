"""Stored sounds as waveforms of one length."""

from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bss.data.sounds import FULL_SCALE, Sounds
from bss.data.store import Store


class Waveforms(nn.Module):
    """Sounds, int16 or float32, to float32 [batch, length] in [-1, 1]: filled where they are shorter.

    Takes `Sounds` whose values are a tensor, or a tensor [batch, samples] of sounds of one length.
    """

    def __init__(self, length: int, short: Literal["pad", "tile"]) -> None:
        super().__init__()
        self.length, self.short = length, short

    def forward(self, sounds: Sounds | Tensor) -> Tensor:
        values: Tensor = sounds.values if isinstance(sounds, Sounds) else sounds
        values = values.float() / FULL_SCALE if values.dtype == torch.int16 else values.float()
        if isinstance(sounds, Tensor) and sounds.shape[1] == self.length:
            return values
        parts = values.split(sounds.lengths.tolist()) if isinstance(sounds, Sounds) else values
        return torch.stack([fit_length(part, self.length, self.short) for part in parts])


def fit_length(sound: Tensor, length: int, short: Literal["pad", "tile"]) -> Tensor:
    """Cut `sound` [samples] at its end, or fill it to `length`: `short` is pad (with silence) or tile (repeat it)."""
    if short == "tile":
        sound = sound.repeat(-(-length // len(sound)))
    return F.pad(sound[:length], (0, max(0, length - len(sound))))


def read_filled(store: Store, modality: str, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.generic]:
    """Return samples of `store` as arrays [k, *shape]: sounds as `Waveforms` makes them, all else as it is stored."""
    found, about = store.read(modality, rows), store.modalities[modality]
    if not isinstance(found, Sounds):
        return found
    assert about.short is not None
    filled: npt.NDArray[np.float32] = Waveforms(about.shape[0], about.short)(
        Sounds(torch.from_numpy(found.values), found.lengths)
    ).numpy()
    return filled
