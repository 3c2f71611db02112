"""WithIndex: wraps a dataset so that each item also returns its index."""

from collections.abc import Sized
from typing import Any, Protocol

from torch.utils.data import Dataset


class SizedDataset(Sized, Protocol):
    """A map-style dataset."""

    def __getitem__(self, index: int) -> Any:
        """Return one sample."""


class WithIndex(Dataset[tuple[Any, ...]]):
    """A map-style dataset whose samples begin with their index: ``(index, *sample)``."""

    def __init__(self, dataset: SizedDataset) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        sample = self.dataset[index]
        return (index, *sample) if isinstance(sample, tuple) else (index, sample)
