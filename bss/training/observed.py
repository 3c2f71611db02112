"""What a strategy has observed of each sample of train since the epoch began, over all ranks."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bss.balance.observations import Observations
from bss.training.distributed.ranks import Ranks

VALUES = "values"


class Observed:
    """Values of n samples, `width` each, filled part by part of a batch, as the sampler's are that scores come from."""

    def __init__(self, n: int, width: int, ranks: Ranks, device: torch.device) -> None:
        self._table = Observations(n, [VALUES], (width,))
        self._ranks, self._device = ranks, device

    def record(self, index: npt.NDArray[np.int64], values: Tensor, epoch: int) -> None:
        """Keep `values` [k, width] of the samples `index` [k]; a later value of a sample replaces an earlier one."""
        self._table.record(index, {VALUES: values}, epoch)

    def share(self) -> None:
        """Exchange what the ranks have observed; they all call it together. The lowest rank's counts for a sample."""
        if self._ranks.count == 1:
            return
        has = np.zeros((self._ranks.count, len(self._table.epochs)), dtype=np.float32)
        has[self._ranks.rank] = self._table.seen
        who = torch.from_numpy(has).to(self._device)
        self._ranks.add(who)
        first = who.argmax(dim=0).cpu().numpy()
        mine = (first == self._ranks.rank) & self._table.seen
        values, epochs = self._table.values[VALUES], self._table.epochs
        # Only zeros are added to a value, so all ranks get the same bits.
        together = torch.from_numpy(np.where(mine[:, None], values, 0.0)).to(self._device)
        when = torch.from_numpy(np.where(mine, epochs, 0).astype(np.float64)).to(self._device)
        self._ranks.add(together)
        self._ranks.add(when)
        known = (who > 0).any(dim=0).cpu().numpy()
        values[known], epochs[known] = together.cpu().numpy()[known], when.cpu().numpy()[known]

    def take(self) -> npt.NDArray[np.float64]:
        """Return the values [n, width], NaN if nothing was observed, and forget them; all ranks call it together."""
        self.share()
        found = self._table.values[VALUES].copy()
        self._table.clear()
        return found

    def state_dict(self) -> dict[str, Any]:
        """Return the observations; those of all ranks after `share`."""
        return {"values": self._table.values[VALUES], "epochs": self._table.epochs}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Restore a `state_dict`."""
        self._table.values[VALUES][:] = np.asarray(saved["values"])
        self._table.epochs[:] = np.asarray(saved["epochs"])
