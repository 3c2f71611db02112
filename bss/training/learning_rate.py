"""The learning rate of a step: a function of its place in the trial alone, so that resuming needs no state."""

import math
from collections.abc import Callable
from typing import Any

import torch

from bss.config.decay import CosineDecay, Decay
from bss.config.training import OptimiserConfig


def learning_rate(
    config: OptimiserConfig, decay: Decay, epochs: int, epoch: int, step: int = 0, steps: int = 1
) -> float:
    """Return the learning rate of `step` of the `steps` of `epoch` of `epochs`; both are counted from 0."""
    rate = config.learning_rate
    if not isinstance(decay, CosineDecay):
        return rate * decay.factor ** sum(epoch >= at for at in decay.at)
    warmup, done = decay.warmup_epochs, epoch + (step + 1) / steps
    if done <= warmup:
        return rate * done / warmup
    progress = max(0.0, (epoch + step / steps - warmup) / (epochs - warmup))
    return rate * (decay.final + (1 - decay.final) * (1 + math.cos(math.pi * progress)) / 2)


def set_learning_rate(optimiser: torch.optim.Optimizer, rate: float, own: Callable[[dict[str, Any]], float]) -> None:
    """Give each group of parameters `rate`, times the factor of its part of the network, times its `own`."""
    for group in optimiser.param_groups:
        group["lr"] = rate * group["factor"] * own(group)
