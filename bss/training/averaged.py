"""The moving average of a network's weights (EMA), which is evaluated, selected and saved instead of the last ones."""

import copy
from itertools import chain
from typing import Any

import torch
from torch.optim.swa_utils import get_ema_multi_avg_fn

from bss.models.heads import Head
from bss.models.network import MultiModalNetwork


class Averaged:
    """A copy of `network` whose weights follow those of `network` by ``average = decay * average + (1 - decay) * new``.

    It does what torch's `AveragedModel` does with ``use_buffers=True``, the way of its documentation to treat batch
    normalisation without a pass over the data (`update_bn`) before each evaluation: running statistics are averaged
    like weights. Unlike `AveragedModel` it never waits for a GPU, and it copies integers, such as the number of
    batches. The first step is copied.
    """

    def __init__(self, network: MultiModalNetwork, decay: float) -> None:
        self.network = copy.deepcopy(network)
        self.started = False
        self._average = get_ema_multi_avg_fn(decay)
        # Each once, though modules may share it. All updates happen in the same memory.
        pairs = list(zip(*(chain(n.parameters(), n.buffers()) for n in (self.network, network)), strict=True))
        self._own = [own for own, _ in pairs if own.is_floating_point()]
        self._new = [new for own, new in pairs if own.is_floating_point()]
        self._copied = [(own, new) for own, new in pairs if not own.is_floating_point()]
        self._heads = list(zip(self.network.heads.values(), network.heads.values(), strict=True))

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights after a step; all ranks have the same, and so the same average."""
        if self.started:
            self._average(self._own, self._new, None)
        else:
            torch._foreach_copy_(self._own, self._new)
        for own, new in self._copied:
            own.copy_(new)
        for head, other in self._heads:
            if isinstance(head, Head) and isinstance(other, Head):
                head.used = other.used
        self.started = True

    def state_dict(self) -> dict[str, Any]:
        """Return the state that determines the next updates."""
        return {"weights": self.network.state_dict(), "started": self.started}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Return to the state of `state_dict`."""
        self.network.load_state_dict(saved["weights"])
        self.started = saved["started"]
