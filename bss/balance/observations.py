"""What a training loop has observed of each sample since the scores were last measured."""

from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt
import torch


class Observations:
    """A table of criterion values per sample, filled batch by batch.

    A sample that is observed again replaces its older values; one that is never observed has none.
    """

    def __init__(self, n: int, criteria: Iterable[str]) -> None:
        self.values = {name: np.full(n, np.nan) for name in criteria}
        self.seen = np.zeros(n, dtype=bool)
        self.fresh = False

    def record(self, index: npt.NDArray[np.int64], values: Mapping[str, npt.ArrayLike]) -> None:
        """Store `values` ([k] per criterion) for the samples `index` [k]."""
        for name, column in self.values.items():
            if name not in values:
                raise ValueError(f"the score needs the criterion `{name}`, but got only: {sorted(values)}")
            column[index] = np.asarray(values[name], dtype=np.float64)
        self.seen[index] = True
        self.fresh = True

    def exchange(self) -> None:
        """Give every rank of the process group what the others observed; the mean where several did."""
        group = torch.distributed
        device = torch.device("cuda" if group.get_backend() == "nccl" else "cpu")
        table = np.stack([*self.values.values(), np.ones(len(self.seen))]) * self.seen
        table[:, ~self.seen] = 0.0  # a value that was never observed is NaN, and NaN * 0 is NaN
        total = torch.from_numpy(table).to(device)
        group.all_reduce(total)
        *sums, counts = total.cpu().numpy()
        self.seen = counts > 0
        for column, values in zip(self.values.values(), sums, strict=True):
            column[self.seen] = values[self.seen] / counts[self.seen]
        self.fresh = bool(self.seen.any())

    def clear(self) -> None:
        """Forget everything."""
        for column in self.values.values():
            column.fill(np.nan)
        self.seen.fill(False)
        self.fresh = False
