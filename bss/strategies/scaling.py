"""Scaling gradients by a factor that lies on the device."""

from __future__ import annotations

import math
from typing import Literal

from bss.balance.checks import require
from bss.lazy_torch import torch
from bss.strategies.hooks import Gradients, Group, Onset, Setting

Scaled = Literal["all", "convolutions"]
"""Which of an encoder's gradients: all, or those of convolutions alone (4 or 5 dimensions), as in public code."""


def scaled(gradients: Gradients, group: Group, which: Scaled = "all") -> list[torch.Tensor]:
    """Return the gradients of `group` that are scaled."""
    return [g for g in gradients.of(group) if which == "all" or g.dim() >= 4]


def scale(gradients: Gradients, group: Group, factor: torch.Tensor | float, which: Scaled = "all") -> None:
    """Multiply the gradients of `group` by `factor`, a number or a 0-dimensional tensor."""
    for gradient in scaled(gradients, group, which):
        gradient.mul_(factor)


def check_window(window: tuple[float, float], key: str = "window") -> None:
    """Require that the parameter `key` is a window of the training: two shares of its epochs, in order."""
    require(0 <= window[0] <= window[1] <= 1, key, list(window), "two shares of the epochs in [0, 1], in order")


def inside(window: tuple[float, float], epoch: int, epochs: int) -> bool:
    """Return whether `epoch` (from 0) of `epochs` lies in `window`, whose end is outside."""
    return window[0] * epochs <= epoch < window[1] * epochs


def onset_in(window: tuple[float, float], epochs: int, first: int = 0) -> Onset:
    """Return the first epoch from `first` on that lies in `window`; `epochs` if none does, infinity if it is empty."""
    if window[0] == window[1]:
        return Onset(math.inf, "window")
    return Onset(next((epoch for epoch in range(first, epochs) if inside(window, epoch, epochs)), epochs), "window")


def warning_of_adam(setting: Setting, what: str = "it") -> str | None:
    """Return why scaling gradients does next to nothing if the optimiser is Adam; `what` scales them."""
    if setting.optimiser not in ("adam", "adamw"):
        return None
    return (
        f"{what} scales gradients, which hardly changes the steps of Adam, because a constant factor cancels in them: "
        "use train.optimiser.kind: sgd"
    )
