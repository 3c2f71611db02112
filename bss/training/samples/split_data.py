"""The samples of one split as network inputs."""

import copy
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bss.data.sounds import Sounds
from bss.data.store import Store
from bss.models.inputs.augmentation import Augmentation
from bss.models.inputs.to_device import to_device
from bss.models.inputs.waveforms import place
from bss.models.network import IGNORED, MultiModalNetwork
from bss.training.samples.read_ahead import Memory, read_ahead

CACHE_BYTES = 2 << 30
"""Inputs, or stored samples, of a split up to this size stay on the device."""

CHUNK = 256
"""Samples per chunk while they are transformed or copied there."""

Indices = npt.NDArray[np.int64]
Inputs = dict[str, Tensor]
Raw = dict[str, Any]
"""Stored samples per modality: tensors [k, ...], or `Sounds` or `PlacedSounds` of one."""


class SplitData:
    """Inputs and labels of one split, by position in the split.

    Un-augmented inputs stay on the device if they fit; otherwise stored
    samples stay on a GPU if those fit; otherwise threads prefetch them, and compute the inputs too if the
    device is the CPU. All three give the same bits.

    `rows` int64 [n] are the store's row indices, in the store's order; `labels` int64 [n] is a tensor on
    the device; `sample_bytes` is the size of the inputs of one sample. `features` are inputs of the whole store that
    are known already. Only the split train is augmented; given `rows` are other samples to take in place of those of
    `split`.
    """

    def __init__(
        self,
        store: Store,
        split: str,
        network: MultiModalNetwork,
        device: torch.device,
        features: Mapping[str, npt.NDArray[np.float32]] = MappingProxyType({}),
        rows: Indices | None = None,
    ) -> None:
        self.rows, self._features = store.rows(split) if rows is None else rows, features
        self.store, self.network, self.device = store, network, device
        self.labels = torch.from_numpy(store.labels[self.rows]).to(device)
        ignored = store.ignored(self.rows)
        self._ignored = None if ignored is None else torch.from_numpy(ignored).to(device)
        self._copies = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._inputs: Inputs | None = None
        self._raw: Raw | None = None
        first = next(self.batches([np.arange(min(1, len(self)))]))[0]
        self.sample_bytes = sum(x.element_size() * x.numel() for x in first.values())
        augmented = split == "train" and network.augments
        stored_bytes = sum(store.bytes_of(name, self.rows) for name in store.modalities)
        keep = what_stays(self.sample_bytes * len(self), stored_bytes, augmented, device)
        if keep == "inputs":
            self._inputs = self._all_inputs()
        elif keep == "stored":
            self._raw = _joined([self._on_device(self._read(index, None)) for index in self._chunks()])

    def __len__(self) -> int:
        return len(self.rows)

    def batches(
        self, indices: Sequence[Indices], augmentation: Augmentation | None = None
    ) -> Generator[tuple[Inputs, Tensor], None, None]:
        """Yield inputs and labels of the samples at positions `index` [k] in the split, for each of `indices`.

        `augmentation` draws the crops for a network with crops; None disables augmentation. If the store's decisions
        ignore modalities of samples, the inputs have `IGNORED` too, bool [k, modalities].
        """
        if not indices:
            return
        # One copy for all steps: a copy per step would be one more operation for the host to launch.
        positions = to_device(self.device, np.concatenate(indices)).split([len(index) for index in indices])
        with closing(self._batches(indices, positions, augmentation)) as batches:
            for (inputs, labels), where in zip(batches, positions, strict=True):
                ignored = {} if self._ignored is None else {IGNORED: self._ignored[where]}
                yield inputs | ignored, labels

    def _batches(
        self, indices: Sequence[Indices], positions: Sequence[Tensor], augmentation: Augmentation | None
    ) -> Generator[tuple[Inputs, Tensor], None, None]:
        if self._inputs is not None:
            for where in positions:
                yield {name: x[where] for name, x in self._inputs.items()}, self.labels[where]
        elif self._raw is not None:
            for index, where in zip(indices, positions, strict=True):
                picked = {name: found[where] for name, found in self._raw.items()}
                yield self._transform(picked, index, augmentation), self.labels[where]
        elif self._copies is None:

            def make(index: Indices, memory: Memory) -> Inputs:
                return self._transform(self._on_device(self._read(index, memory)), index, augmentation)

            with closing(read_ahead(make, indices, self.device)) as made:
                for (inputs, _), where in zip(made, positions, strict=True):
                    yield inputs, self.labels[where]
        else:
            with closing(read_ahead(self._read, indices, self.device)) as read:
                for (found, memory), index, where in zip(read, indices, positions, strict=True):
                    yield self._transform(self._on_device(found, memory), index, augmentation), self.labels[where]

    def unaugmented(self) -> "SplitData":
        """Return the same samples for passes without augmentation: their inputs stay on the device if they fit."""
        if self._inputs is not None or self.sample_bytes * len(self) > CACHE_BYTES:
            return self
        kept = copy.copy(self)
        kept._inputs = self._all_inputs()
        return kept

    def _all_inputs(self) -> Inputs:
        chunks = [inputs for inputs, _ in self.batches(self._chunks())]
        return {name: torch.cat([chunk[name] for chunk in chunks]) for name in self.store.modalities}

    def _chunks(self) -> list[Indices]:
        return [np.arange(i, min(i + CHUNK, len(self))) for i in range(0, len(self), CHUNK)]

    def _read(self, index: Indices, memory: Memory | None) -> dict[str, npt.NDArray[Any] | Sounds]:
        rows = self.rows[index]
        found: dict[str, npt.NDArray[Any] | Sounds] = {}
        for name in self.store.modalities:
            if name in self._features:
                found[name] = np.array(self._features[name][rows])
                continue
            room = None if memory is None else memory.room(name, self.store.bytes_of(name, rows))
            found[name] = self.store.read(name, rows, room)
        return found

    def _on_device(self, found: dict[str, npt.NDArray[Any] | Sounds], memory: Memory | None = None) -> Raw:
        """Move what was read to the device; on CPU it stays in place."""
        if self._copies is None:
            return {name: _map(torch.from_numpy, x) for name, x in found.items()}
        # On a separate stream, so that the copy does not wait for the previous step.
        with torch.cuda.stream(self._copies):
            raw = {name: _map(self._copy, x) for name, x in found.items()}
        if memory is not None:
            memory.copying(self._copies)
        now = torch.cuda.current_stream(self.device)
        now.wait_stream(self._copies)
        for x in raw.values():
            _map(lambda tensor: tensor.record_stream(now), x)
        return raw

    def _copy(self, array: npt.NDArray[Any]) -> Tensor:
        return torch.from_numpy(array).to(self.device, non_blocking=True)

    def _transform(self, raw: Raw, index: Indices, augmentation: Augmentation | None) -> Inputs:
        if len(index) == 0 < len(self):  # a rank's share of a small batch; torch.stft rejects empty ones
            ((one, _),) = self.batches([np.zeros(1, dtype=np.int64)])
            return {name: x[:0] for name, x in one.items()}
        draws = augmentation is not None and self.network.augments
        drawn = augmentation.draw(self.rows[index]) if augmentation is not None and draws else None
        with torch.no_grad():
            return {
                name: raw[name] if name in self._features else self.network.transform_one(name, raw[name], drawn)
                for name in self.network.transforms
            }


def what_stays(
    input_bytes: int, stored_bytes: int, augmented: bool, device: torch.device
) -> Literal["inputs", "stored", "nothing"]:
    """Return what to keep of a split on the device; on CPU not the stored samples, which the OS page cache holds."""
    if not augmented and input_bytes <= CACHE_BYTES:
        return "inputs"
    return "stored" if device.type == "cuda" and stored_bytes <= CACHE_BYTES else "nothing"


def _map(change: Any, found: Any) -> Any:
    return Sounds(change(found.values), found.lengths) if isinstance(found, Sounds) else change(found)


def _joined(parts: list[Raw]) -> Raw:
    """Return the stored samples of all `parts`, ready for indexing on their device."""
    joined: Raw = {}
    for name, first in parts[0].items():
        if isinstance(first, Sounds):
            values = torch.cat([part[name].values for part in parts])
            joined[name] = place(Sounds(values, np.concatenate([part[name].lengths for part in parts])))
        else:
            joined[name] = torch.cat([part[name] for part in parts])
    return joined
