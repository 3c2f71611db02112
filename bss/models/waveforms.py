"""Stored sounds as waveforms of one length."""

from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
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
        parts = self.parts(sounds)
        device = sounds.values.device if isinstance(sounds, Sounds) else sounds.device
        filled = torch.empty(len(parts), self.length, device=device)
        for waveform, part in zip(filled, parts, strict=True):
            fill(waveform, part, self.short)
        return filled

    def parts(self, sounds: Sounds | Tensor) -> tuple[Tensor, ...]:
        """Return each sound as float32 [samples] in [-1, 1], as long as it is stored."""
        values: Tensor = sounds.values if isinstance(sounds, Sounds) else sounds
        values = values.float() / FULL_SCALE if values.dtype == torch.int16 else values.float()
        return values.split(sounds.lengths.tolist()) if isinstance(sounds, Sounds) else values.unbind()


def fill(waveform: Tensor, sound: Tensor, short: Literal["pad", "tile"]) -> None:
    """Write `sound` [samples] into `waveform` [length]: cut at its end, or followed by silence or by itself."""
    length = len(waveform)
    done = min(len(sound), length)
    waveform[:done] = sound[:done]
    if short == "pad":
        waveform[done:] = 0
        return
    while done < length:  # as much again each time
        more = min(done, length - done)
        waveform[done : done + more] = waveform[:more]
        done += more


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
