"""The samples of one split as network inputs."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bss.data.sounds import Sounds
from bss.data.store import Store
from bss.models.augmentation import Augmentation
from bss.models.network import MultiModalNetwork

CACHE_BYTES = 2 << 30
"""Inputs of a split up to this size are transformed once and stay on the device."""

CHUNK = 256
"""Samples that are transformed at a time."""


class SplitData:
    """Inputs and labels of one split, by position in the split.

    `rows` int64 [n] are the store's row indices, in the store's order; `labels` int64 [n] is a tensor on
    the device; `sample_bytes` is the size of the inputs of one sample.
    """

    def __init__(self, store: Store, split: str, network: MultiModalNetwork, device: torch.device) -> None:
        self.rows = store.rows(split)
        self.store, self.network, self.device = store, network, device
        self.labels = torch.from_numpy(store.labels[self.rows]).to(device)
        self._cache: dict[str, Tensor] | None = None
        augmented = split == "train" and network.augments
        first = self._load(np.arange(min(1, len(self.rows))))
        self.sample_bytes = sum(x.element_size() * x.numel() for x in first.values())
        if not augmented and self.sample_bytes * len(self.rows) <= CACHE_BYTES:
            chunks = [self._load(np.arange(i, min(i + CHUNK, len(self)))) for i in range(0, len(self), CHUNK)]
            self._cache = {name: torch.cat([chunk[name] for chunk in chunks]) for name in store.modalities}

    def __len__(self) -> int:
        return len(self.rows)

    def batch(
        self, index: npt.NDArray[np.int64], augmentation: Augmentation | None = None
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Return inputs and labels of the samples at positions `index` [k] of the split.

        `augmentation` draws the parts of images that a network with crops sees; None augments nothing.
        """
        if self._cache is None:
            return self._load(index, augmentation), self.labels[torch.from_numpy(index).to(self.device)]
        where = torch.from_numpy(index).to(self.device)
        return {name: x[where] for name, x in self._cache.items()}, self.labels[where]

    def _load(self, index: npt.NDArray[np.int64], augmentation: Augmentation | None = None) -> dict[str, Tensor]:
        if len(index) == 0 < len(self):  # a rank's share of a small batch; torch.stft refuses empty ones
            return {name: x[:0] for name, x in self._load(np.zeros(1, dtype=np.int64)).items()}
        rows = self.rows[index]
        raw = {name: self._to_device(self.store.read(name, rows)) for name in self.store.modalities}
        drawn = augmentation.draw(rows) if augmentation is not None and self.network.augments else None
        with torch.no_grad():
            return self.network.transform(raw, drawn)

    def _to_device(self, found: npt.NDArray[Any] | Sounds) -> Tensor | Sounds:
        if isinstance(found, Sounds):
            return Sounds(torch.from_numpy(found.values).to(self.device), found.lengths)
        return torch.from_numpy(found).to(self.device)
