"""WithIndex: wraps a dataset so that each item also returns its index."""

from collections.abc import Sized
from typing import Any, Protocol

from torch.utils.data import Dataset, IterableDataset


class SizedDataset(Sized, Protocol):
    """A map-style dataset."""

    def __getitem__(self, index: int) -> Any:
        """Return one sample."""


class WithIndex(Dataset[tuple[Any, ...]]):
    """A map-style dataset whose samples begin with their index: ``(index, *sample)``.

    It goes around `Subset` and `ConcatDataset`, so that the index is the position in the dataset that is trained on.

    Raises
    ------
    TypeError
        The dataset is iterable, or has no length or no samples by index.
    """

    def __init__(self, dataset: SizedDataset) -> None:
        name = type(dataset).__name__
        if isinstance(dataset, IterableDataset) or not hasattr(dataset, "__getitem__"):
            raise TypeError(
                f"{name} gives its samples in an order of its own, so no sampler can order them: use a map-style "
                "dataset, with __len__ and __getitem__ (write a stream to disk first, or load its index)"
            )
        if not hasattr(dataset, "__len__"):
            raise TypeError(f"{name} has no __len__, so its samples cannot be ranked: use a map-style dataset")
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        sample = self.dataset[index]
        return (index, *sample) if isinstance(sample, tuple) else (index, sample)
