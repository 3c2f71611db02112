"""Duplicates and near-duplicates: samples all of whose modalities are equal, or nearly.

Exact copies have the same stored bytes. Near-duplicates are nearly parallel descriptors of the inputs themselves, and
not features of trained encoders: those bring all samples of a class together, whatever they show. A descriptor is the
stored sample at low resolution, so that another gain, a lossy codec or a little noise change it little; a shift in
time, a crop or a mirror image do.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from bss.balance.draw import generator
from bss.data.sounds import Sounds, to_float
from bss.data.store import Modality

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
Stored = npt.NDArray[Any] | Sounds

DIMENSIONS = 256
"""Length of a descriptor; longer ones are projected at random, which changes a cosine near 1 by (1 - cosine^2) / 16."""
GRID = 16
"""Points of a descriptor along each axis of a spectrogram or picture."""
FLOOR = 1e-3
"""Share of a sound's greatest power below which its descriptor hears nothing: a noise 30 dB below changes little."""
FRAMES = 4
"""Frames of a clip that its descriptor takes."""
TILE = 2048
"""Samples whose similarities to as many others are in memory at once."""


@dataclass(frozen=True)
class Duplicates:
    """The duplicate of each of n samples."""

    partner: Ints
    """[n], the position of the most similar duplicate, of another split or group if there is one; -1 for none."""
    similarity: npt.NDArray[np.float64]
    """[n], 1 for exact copies; otherwise the least cosine of a modality; NaN for none."""
    exact: npt.NDArray[np.bool_]
    """[n]."""


def find_duplicates(
    read: Callable[[str], Iterable[Stored]],
    modalities: Mapping[str, Modality],
    places: Sequence[tuple[str, str | None]],
    near: float,
) -> Duplicates:
    """Return the duplicates among n samples; `read(modality)` yields their stored values in blocks, in order.

    `places` are split and group of each sample. Memory grows with n, time with its square unless `near` is 1.
    """
    _, place = np.unique([f"{split}\0{group or ''}" for split, group in places], return_inverse=True)
    digests = np.stack([digest_blocks(read(name)) for name in modalities], axis=1)
    partner, similarity = _exact(digests, place), np.full(len(place), np.nan)
    exact = partner >= 0
    similarity[exact] = 1.0
    if near < 1:
        found = nearest([describe(m, read(name)) for name, m in modalities.items()], place, near)
        take = (found[0] >= 0) & ~exact
        partner[take], similarity[take] = found[0][take], found[1][take]
    return Duplicates(partner, similarity, exact)


def digest_blocks(blocks: Iterable[Stored]) -> npt.NDArray[np.object_]:
    """Return the sha256 of each stored sample, bytes [n]."""
    digests = []
    for block in blocks:
        parts = np.split(block.values, block.ends[:-1]) if isinstance(block, Sounds) else block
        digests += [hashlib.sha256(np.ascontiguousarray(part).tobytes()).digest() for part in parts]
    return np.array(digests, dtype=object)


def _exact(digests: npt.NDArray[np.object_], place: Ints) -> Ints:
    """Return an equal sample for each of `digests` [n, modalities], of another place if there is one, or -1."""
    equal: dict[tuple[bytes, ...], list[int]] = {}
    for position, own in enumerate(map(tuple, digests.tolist())):
        equal.setdefault(own, []).append(position)
    partner = np.full(len(digests), -1, dtype=np.int64)
    for positions in equal.values():
        if len(positions) == 1:
            continue
        first_of: dict[int, int] = {}
        for position in positions:
            first_of.setdefault(int(place[position]), position)
        firsts = list(first_of.values())
        for position in positions:
            # The first of two places is another place to any sample; without a second place, the first two samples.
            candidates = firsts[:2] if len(firsts) > 1 else positions[:2]
            elsewhere = [c for c in candidates if place[c] != place[position]]
            partner[position] = (elsewhere or [c for c in candidates if c != position])[0]
    return partner


def describe(modality: Modality, blocks: Iterable[Stored]) -> Floats:
    """Return the descriptors of n stored samples, float32 [n, at most DIMENSIONS], of length 1.

    Level and scale of each sample are removed, then the mean of all samples. A constant sample, and one like the mean,
    has length 0: it is no near-duplicate of any.
    """
    makers: dict[str, Callable[[Any], torch.Tensor]] = {"audio": _sounds, "text": _texts}
    make = makers.get(modality.kind, _pictures if len(modality.shape) >= 3 else _numbers)
    found = torch.cat(list(_projected(make(block) for block in blocks)))
    unit: Floats = _of_length_one(found - found.mean(dim=0)).numpy()
    return unit


def _of_length_one(rows: torch.Tensor) -> torch.Tensor:
    lengths = rows.norm(dim=1, keepdim=True)
    return torch.where(lengths > 1e-4, rows / lengths.clamp(min=1e-4), torch.zeros(()))


def _projected(blocks: Iterator[torch.Tensor]) -> Iterator[torch.Tensor]:
    matrix: torch.Tensor | None = None
    for block in blocks:
        flat = block.flatten(1)
        flat = _of_length_one(flat - flat.mean(dim=1, keepdim=True))
        if flat.shape[1] > DIMENSIONS:
            if matrix is None:
                drawn = generator(0, "descriptors").standard_normal((flat.shape[1], DIMENSIONS), dtype=np.float32)
                matrix = torch.from_numpy(drawn) / DIMENSIONS**0.5
            flat = flat @ matrix
        yield flat


def _sounds(block: Sounds) -> torch.Tensor:
    """Return log spectrograms at low resolution, [k, GRID, GRID]; of a longer sound each point is a longer time."""
    window, found = torch.hann_window(256), []
    for part in np.split(block.values, block.ends[:-1]):
        sound = torch.from_numpy(to_float(part))
        spectrum = torch.stft(sound, 256, 64, window=window, pad_mode="constant", return_complex=True)
        power = spectrum.abs().square()
        found.append(F.adaptive_avg_pool2d(torch.log(power + FLOOR * power.max() + 1e-12)[None], (GRID, GRID))[0])
    return torch.stack(found)


def _texts(block: npt.NDArray[np.int32]) -> torch.Tensor:
    """Return counts of tokens, each at one of DIMENSIONS places with a sign, by its number, [k, DIMENSIONS]."""
    tokens = torch.from_numpy(block.astype(np.int64))
    mixed = tokens * 2654435761 % 2**32  # Knuth's multiplicative hash
    sign = ((mixed >> 16) % 2 * 2 - 1) * (tokens != 0)
    counts = torch.zeros(len(tokens), DIMENSIONS)
    return counts.scatter_add_(1, (mixed >> 20) % DIMENSIONS, sign.float())


def _pictures(block: npt.NDArray[Any]) -> torch.Tensor:
    """Return pictures [k, channels, height, width], or a few frames [k, frames, channels, ...], at low resolution."""
    if block.ndim == 5:
        taken = np.linspace(0, block.shape[1] - 1, min(FRAMES, block.shape[1])).round().astype(int)
        block = block[:, taken].reshape(len(block), -1, *block.shape[3:])
    height, width = (min(GRID, size) for size in block.shape[2:])
    return F.adaptive_avg_pool2d(torch.from_numpy(block.astype(np.float32)), (height, width))


def _numbers(block: npt.NDArray[Any]) -> torch.Tensor:
    return torch.from_numpy(block.astype(np.float32))


def nearest(descriptors: Sequence[Floats], place: Ints, near: float) -> tuple[Ints, npt.NDArray[np.float64]]:
    """Return the most similar sample of each of n, of another place if one of those is near, and the similarity.

    That of two samples is the least cosine over the modalities, whose unit `descriptors` are float32 [n, width] each.
    Below `near` it is -1 and NaN.
    """
    rows = [torch.from_numpy(x) for x in descriptors]
    places, n = torch.from_numpy(place), len(place)
    best, partner = torch.full((n,), -torch.inf), torch.full((n,), -1, dtype=torch.int64)
    for start in range(0, n, TILE):
        for other in range(start, n, TILE):
            here, there = slice(start, min(start + TILE, n)), slice(other, min(other + TILE, n))
            tile = _similarities(rows, here, there, near)
            if tile is None:
                continue
            tile[tile < near] = -torch.inf
            tile += 3.0 * (places[here, None] != places[None, there])  # cosines span 2
            for part, offset, score in ((here, other, tile), (there, start, tile.T)):
                value, index = score.max(dim=1)
                better = value > best[part]
                best[part] = torch.where(better, value, best[part])
                partner[part] = torch.where(better, index + offset, partner[part])
    elsewhere = (places != places[partner.clamp(min=0)]).float()
    similarity = (best - 3.0 * elsewhere).clamp(max=1.0).double().numpy()
    similarity[partner.numpy() < 0] = np.nan
    return partner.numpy(), similarity


def _similarities(rows: Sequence[torch.Tensor], here: slice, there: slice, near: float) -> torch.Tensor | None:
    """Return the similarities of the samples `here` and `there`, of a sample with itself -1; None if all are below."""
    least: torch.Tensor | None = None
    for x in rows:
        own = x[here] @ x[there].T
        if here == there:
            own.fill_diagonal_(-1)
        least = own if least is None else torch.minimum(least, own)
        if least.max() < near:  # whatever the other modalities say
            return None
    return least
