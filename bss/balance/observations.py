"""Criterion values that a training loop has observed since the scores were last measured."""

from collections.abc import Iterable, Mapping
from math import prod

import numpy as np
import numpy.typing as npt
import torch

NEVER = -2
"""Epoch of an unobserved sample; -1 marks observations before the first `set_epoch`."""

MOST_WAITING = 1 << 20
"""Maximum number of pending numbers of a criterion: each takes several times its memory in the table."""


class Observations:
    """A table of criterion values per sample, filled batch by batch; a value is a number, or an array of `shape`.

    A new observation of a sample replaces the old one; an unobserved sample has none. Values on a
    GPU stay there until the table is read or `MOST_WAITING` numbers are pending, so that observing does not block.
    """

    def __init__(self, n: int, criteria: Iterable[str], shape: tuple[int, ...] = ()) -> None:
        self._values = {name: np.full((n, *shape), np.nan) for name in criteria}
        self._epochs = np.full(n, NEVER, dtype=np.int32)
        self._waiting: list[tuple[npt.NDArray[np.int64], dict[str, torch.Tensor], int]] = []
        self._numbers = prod(shape)  # of a sample's value
        self._count = 0  # of pending samples

    @property
    def values(self) -> dict[str, npt.NDArray[np.float64]]:
        """The values of each criterion, [n, *shape]; NaN for unobserved samples."""
        self._settle()
        return self._values

    @property
    def epochs(self) -> npt.NDArray[np.int32]:
        """The epoch in which each sample was last observed, [n]."""
        self._settle()
        return self._epochs

    @property
    def seen(self) -> npt.NDArray[np.bool_]:
        """Which samples have been observed, [n]."""
        return self.epochs != NEVER

    @property
    def fresh(self) -> bool:
        """Whether any sample has been observed."""
        return bool(self.seen.any())

    def record(
        self, index: npt.NDArray[np.int64], values: Mapping[str, npt.ArrayLike | torch.Tensor], epoch: int
    ) -> None:
        """Store `values` ([k, *shape] per criterion) for the samples `index` [k], observed in `epoch`."""
        missing = [name for name in self._values if name not in values]
        if missing:
            raise ValueError(f"the score needs the criterion `{missing[0]}`, but got only: {sorted(values)}")
        # Copies, because a loop may reuse its memory.
        kept = {name: torch.as_tensor(values[name]).detach().clone() for name in self._values}
        self._waiting.append((index.copy(), kept, epoch))
        self._count += len(index)
        if self._count * self._numbers >= MOST_WAITING:
            self._settle()

    def _settle(self) -> None:
        """Move pending observations into the table, in order."""
        if not self._waiting:
            return
        index = np.concatenate([rows for rows, _, _ in self._waiting])
        epochs = np.concatenate([np.full(len(rows), epoch) for rows, _, epoch in self._waiting])
        # If a sample occurs several times, the last observation counts.
        unique, from_the_end = np.unique(index[::-1], return_index=True)
        last = len(index) - 1 - from_the_end
        for name, column in self._values.items():
            parts = [values[name] for _, values, _ in self._waiting]
            together = torch.cat([part.to(parts[0].device) for part in parts])
            column[unique] = together.cpu().double().numpy()[last]
        self._epochs[unique] = epochs[last]
        self._forget_waiting()

    def exchange(self) -> None:
        """Exchange observations between all ranks of the process group.

        If several ranks observed a sample, the latest epoch counts; on a tie, the lowest rank.
        """
        group = torch.distributed
        device = torch.device("cuda" if group.get_backend() == "nccl" else "cpu")
        latest = torch.from_numpy(self.epochs).to(device, copy=True)
        group.all_reduce(latest, op=group.ReduceOp.MAX)
        epochs = latest.cpu().numpy()
        rank = np.int64(group.get_rank())
        has = self.seen & (self.epochs == epochs)
        first = torch.from_numpy(np.where(has, rank, group.get_world_size())).to(device)
        group.all_reduce(first, op=group.ReduceOp.MIN)
        mine = first.cpu().numpy() == rank
        # Only zeros are added to a value, so all ranks get the same bits.
        table = torch.from_numpy(np.where(mine, np.stack([*self.values.values()]), 0.0)).to(device)
        group.all_reduce(table)
        self._epochs = epochs
        for column, values in zip(self.values.values(), table.cpu().numpy(), strict=True):
            column[self.seen] = values[self.seen]

    def clear(self) -> None:
        """Forget everything."""
        self._forget_waiting()
        for column in self._values.values():
            column.fill(np.nan)
        self._epochs.fill(NEVER)

    def _forget_waiting(self) -> None:
        self._waiting.clear()
        self._count = 0
