"""What a training loop has observed of each sample since the scores were last measured."""

from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt
import torch

NEVER = -2
"""The epoch of a sample that was not observed; -1 stands for observations before the first `set_epoch`."""


class Observations:
    """A table of criterion values per sample, filled batch by batch.

    A sample that is observed again replaces its older values; one that is never observed has none.
    """

    def __init__(self, n: int, criteria: Iterable[str]) -> None:
        self.values = {name: np.full(n, np.nan) for name in criteria}
        self.epochs = np.full(n, NEVER, dtype=np.int32)
        """The epoch in which each sample was last observed."""
        self.fresh = False

    @property
    def seen(self) -> npt.NDArray[np.bool_]:
        """Which samples have been observed, [n]."""
        return self.epochs != NEVER

    def record(self, index: npt.NDArray[np.int64], values: Mapping[str, npt.ArrayLike], epoch: int) -> None:
        """Store `values` ([k] per criterion) for the samples `index` [k], observed in `epoch`."""
        for name, column in self.values.items():
            if name not in values:
                raise ValueError(f"the score needs the criterion `{name}`, but got only: {sorted(values)}")
            column[index] = np.asarray(values[name], dtype=np.float64)
        self.epochs[index] = epoch
        self.fresh = True

    def exchange(self) -> None:
        """Give every rank of the process group what the others observed.

        Of a sample that several ranks observed the latest epoch counts; the mean where that is the same.
        """
        group = torch.distributed
        device = torch.device("cuda" if group.get_backend() == "nccl" else "cpu")
        latest = torch.from_numpy(self.epochs).to(device, copy=True)
        group.all_reduce(latest, op=group.ReduceOp.MAX)
        epochs = latest.cpu().numpy()
        mine = self.seen & (self.epochs == epochs)
        table = np.stack([*self.values.values(), np.ones(len(epochs))])
        table[:, ~mine] = 0.0
        total = torch.from_numpy(table).to(device)
        group.all_reduce(total)
        *sums, counts = total.cpu().numpy()
        self.epochs = epochs
        seen = self.seen
        for column, values in zip(self.values.values(), sums, strict=True):
            column[seen] = values[seen] / counts[seen]
        self.fresh = bool(seen.any())

    def clear(self) -> None:
        """Forget everything."""
        for column in self.values.values():
            column.fill(np.nan)
        self.epochs.fill(NEVER)
        self.fresh = False
