"""Turn stored sounds into waveforms of one length."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from bss.data.sounds import FULL_SCALE, Sounds
from bss.data.store import Store
from bss.models.inputs.to_device import to_device


@dataclass(frozen=True)
class PlacedSounds:
    """Sounds at any position in one tensor, such as a batch among all sounds on a GPU."""

    values: Tensor
    """int16 or float32 [samples of all]."""
    starts: Tensor
    """int64 [k] on the same device."""
    lengths: Tensor
    """int64 [k], at least 1."""

    def __getitem__(self, which: Tensor) -> "PlacedSounds":
        """Return the sounds at the positions `which` [m]; their values stay where they are."""
        return PlacedSounds(self.values, self.starts[which], self.lengths[which])


def place(sounds: Sounds) -> PlacedSounds:
    """Return `sounds` of a tensor with their positions on its device, without waiting for a GPU."""
    starts, lengths = to_device(sounds.values.device, np.stack([sounds.ends - sounds.lengths, sounds.lengths]))
    return PlacedSounds(sounds.values, starts, lengths)


class Waveforms(nn.Module):
    """Maps sounds, int16 or float32, to float32 [batch, length] in [-1, 1]; fills shorter ones.

    Takes `Sounds` of a tensor, `PlacedSounds`, or a tensor [batch, samples] of sounds of one length. A CPU copies one
    by one; a GPU uses as many kernels for all as for one. Both give the same bits.
    """

    def __init__(self, length: int, short: Literal["pad", "tile"]) -> None:
        super().__init__()
        self.length, self.short = length, short

    def forward(self, sounds: Sounds | PlacedSounds | Tensor) -> Tensor:
        values: Tensor = sounds if isinstance(sounds, Tensor) else sounds.values
        if values.device.type != "cpu":
            return gathered(_placed(sounds), self.length, self.short)
        parts = self.parts(sounds)
        filled = torch.empty(len(parts), self.length)
        for waveform, part in zip(filled, parts, strict=True):
            fill(waveform, part, self.short)
        return filled

    def parts(self, sounds: Sounds | PlacedSounds | Tensor) -> tuple[Tensor, ...]:
        """Return each sound, on the CPU, as float32 [samples] in [-1, 1] with its stored length."""
        if isinstance(sounds, PlacedSounds):
            lengths = sounds.lengths.tolist()
            places = zip(sounds.starts.tolist(), lengths, strict=True)
            pieces = [sounds.values[start : start + length] for start, length in places]
            return _to_float(torch.cat([*pieces, sounds.values[:0]])).split(lengths)
        if isinstance(sounds, Sounds):
            return _to_float(sounds.values).split(sounds.lengths.tolist())
        return _to_float(sounds).unbind()


def gathered(sounds: PlacedSounds, length: int, short: Literal["pad", "tile"]) -> Tensor:
    """Return `sounds` as float32 [k, length], bit-identical to `fill`, with one gather at computed positions."""
    time, lengths = torch.arange(length, device=sounds.values.device), sounds.lengths[:, None]
    offsets = time % lengths if short == "tile" else torch.minimum(time, lengths - 1)
    waveforms = _to_float(sounds.values[sounds.starts[:, None] + offsets])
    return waveforms if short == "tile" else waveforms.masked_fill(time >= lengths, 0)


def _placed(sounds: Sounds | PlacedSounds | Tensor) -> PlacedSounds:
    if isinstance(sounds, PlacedSounds):
        return sounds
    if isinstance(sounds, Sounds):
        return place(sounds)
    count, samples = sounds.shape
    starts = samples * torch.arange(count, device=sounds.device)
    return PlacedSounds(sounds.flatten(), starts, torch.full_like(starts, samples))


def _to_float(values: Tensor) -> Tensor:
    return values.float() / FULL_SCALE if values.dtype == torch.int16 else values.float()


def fill(waveform: Tensor, sound: Tensor, short: Literal["pad", "tile"]) -> None:
    """Write `sound` [samples] into `waveform` [length]: truncated, or filled with silence or repetitions."""
    length = len(waveform)
    done = min(len(sound), length)
    waveform[:done] = sound[:done]
    if short == "pad":
        waveform[done:] = 0
        return
    while done < length:  # doubles each time
        more = min(done, length - done)
        waveform[done : done + more] = waveform[:more]
        done += more


def read_filled(store: Store, modality: str, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.generic]:
    """Return samples of `store` as arrays [k, *shape]: sounds after `Waveforms`, other modalities as stored."""
    found, about = store.read(modality, rows), store.modalities[modality]
    if not isinstance(found, Sounds):
        return found
    assert about.short is not None
    filled: npt.NDArray[np.float32] = Waveforms(about.shape[0], about.short)(
        Sounds(torch.from_numpy(found.values), found.lengths)
    ).numpy()
    return filled
