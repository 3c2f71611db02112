"""One training step: forward and backward passes over the parts of a batch, and one update."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bss.models.network import MultiModalNetwork, Outputs
from bss.training.distributed.ranks import Ranks
from bss.training.samples.split_data import Inputs
from bss.training.strategy.run import StrategyRun
from bss.training.targets import PLAIN, Targets

Part = tuple[Inputs, Tensor]
"""Inputs and labels of one part of a batch."""
Passed = tuple[Outputs, Tensor]
"""Outputs and losses [k] of one part, detached."""


@dataclass(frozen=True)
class Step:
    """The objects that a step uses, the same for all steps of an epoch; call it to take one step."""

    network: MultiModalNetwork
    call: nn.Module
    """Called instead of `network`: wrapped for several ranks, or compiled."""
    optimiser: torch.optim.Optimizer
    ranks: Ranks
    sharing_dropout: Callable[[int], AbstractContextManager[Any]]
    strategy: StrategyRun | None = None
    """None: training with the configured loss."""
    clip: float | None = None
    """Greatest norm of the gradient of all parameters together; None: any."""
    targets: Targets = PLAIN
    """Targets of the loss that is minimised without a strategy; a `strategy` has its own."""

    def __call__(self, lengths: Sequence[int], loaded: Iterator[Part]) -> list[Passed]:
        """Train on this rank's share of a batch, from `loaded`; its parts have `lengths` samples over all ranks.

        The update minimises the mean loss over the batch. Parts are loaded one by one, when they are needed.
        """
        size = sum(lengths)
        self.optimiser.zero_grad(set_to_none=True)
        passed = [
            self._pass(*next(loaded), length, size, number, last=number == len(lengths))
            for number, length in enumerate(lengths, 1)
        ]
        if self.strategy is not None:
            self.strategy.finish_step()
        self.update()
        return passed

    def update(self) -> None:
        """Update the weights by their gradients, clipped if that is asked for.

        The gradients are those of the whole batch, the same on all ranks, and so is their norm. Nothing here waits for
        the device.
        """
        if self.clip is not None:
            nn.utils.clip_grad_norm_(self.network.parameters(), self.clip)
        self.optimiser.step()

    def _pass(self, inputs: Inputs, labels: Tensor, length: int, size: int, number: int, last: bool) -> Passed:
        if self.strategy is not None:
            with self.sharing_dropout(length):
                outputs = self.strategy.forward(self.call, inputs, length)
            with torch.no_grad():
                loss = self.network.loss(outputs, labels)
            penalty = self.network.fusion.penalty() if last else None
            self.strategy.backward(inputs, outputs, labels, number, length, size, penalty)
            return outputs.detached(), loss
        with self.ranks.adding_gradients(self.call, last=last):
            with self.sharing_dropout(length):
                outputs = self.call(inputs)
            loss = trained = self.network.loss(outputs, labels)
            if self.targets != PLAIN:
                trained = self.network.loss(outputs, labels, self.targets.label_smoothing, self.targets.class_weights)
            # The gradients are averaged over the ranks, whose shares may differ in size; one may be empty.
            objective = trained.sum() / (size / self.ranks.count)
            penalty = self.network.fusion.penalty() if last else None
            (objective if penalty is None else objective + penalty).backward()
        return outputs.detached(), loss.detach()
