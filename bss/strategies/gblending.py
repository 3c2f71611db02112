"""G-Blending (Wang et al., What Makes Training Multi-modal Classification Networks Hard?, CVPR 2020), online."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from bss.balance.checks import require
from bss.lazy_torch import torch
from bss.strategies.base import Method
from bss.strategies.hooks import (
    FIRST,
    PROBED,
    Context,
    EpochPlan,
    Facts,
    Group,
    Onset,
    Prediction,
    Setting,
    Split,
    State,
    Weights,
)

LEAST = 1e-4
"""Smallest change of the overfitting; a gain is divided by its square."""


@dataclass(frozen=True)
class GBlending(Method):
    """Weighs each cross-entropy by what it gained on val, over the square of how much more it overfits.

    Both are read every few epochs, from the heads of the network itself or from probe runs of its copies. The
    weights keep their sum, so that the learning rate keeps its meaning.
    """

    kind: Literal["g-blending"] = "g-blending"
    control = "weights.unimodal=4.0"
    steady = True
    every: int = 10
    """Epochs between two estimates, at least 1; before the first one `loss` sets the weights."""
    probe: Literal["heads", "train"] = "heads"
    """heads: what they gained since the last estimate; train: what copies of the network gain from here on, each
    modality's trained alone and one by the fused loss, as published. Then the first estimate is before the first epoch,
    and with `every` at least train.epochs the only one (offline)."""
    probe_epochs: int = 10
    """Length of the probe runs, at least 1."""

    splits: ClassVar[tuple[Split, ...]] = ("train", "val")
    published: ClassVar = (1.0, 1.0)

    def __post_init__(self) -> None:
        """Check the range."""
        require(self.every >= 1, "every", self.every, "at least 1")
        require(self.probe_epochs >= 1, "probe_epochs", self.probe_epochs, "at least 1")

    @property
    def probe_length(self) -> int:
        """Epochs of the probe runs."""
        return self.probe_epochs if self.probe == "train" else 0

    @property
    def needs_heads(self) -> bool:
        """Whether the heads of the network itself give the estimates; probe runs train those of copies."""
        return self.probe == "heads"

    def weights(self, setting: Setting) -> Weights:
        """Return the weights before the first estimate; those of the paper sum to 1."""
        if self.loss == "product":
            return super().weights(setting)
        each = 1 / (len(setting.modalities) + 1)
        return Weights(each, dict.fromkeys(setting.modalities, each))

    def prediction(self, setting: Setting) -> Prediction | None:
        """Return the fused logits if `loss` is published; else estimates give any logits a weight."""
        return super().prediction(setting) if self.loss == "published" else None

    def onset(self, setting: Setting) -> Onset:
        """At the second estimate by heads, the first one by probe runs."""
        return Onset(self.every, "every") if self.probe == "heads" else FIRST

    def start(self, setting: Setting, modules: Mapping[Group, torch.nn.Module], classes: int) -> State:
        """Return the weights in force and the losses at the last estimate, none yet."""
        return {"weights": None, "before": None}

    def reads(self, context: Context) -> bool:
        """Every `every` epochs, before the first one too."""
        return context.epoch % self.every == 0

    def plan(self, context: Context, facts: Mapping[str, Facts], modules: Mapping[Group, torch.nn.Module]) -> EpochPlan:
        """Estimate the weights again if that is due."""
        state, names = context.state, context.setting.modalities
        if facts:
            found = {split: [f.fused_loss, *(f.loss[name] for name in names)] for split, f in facts.items()}
            now: dict[str, list[float]] = {"train": found["train"], "val": found["val"]}
            before = state["before"]
            if self.probe == "train":
                before, now = now, {split: found[PROBED + split] for split in now}
            if before is not None:
                raw = gains_over_overfitting(before, now)
                first = self.weights(context.setting)
                total = (first.fused or 0.0) + sum(first.unimodal.values())
                if sum(raw) > 0:
                    state["weights"] = [total * value / sum(raw) for value in raw]
            state["before"] = now if self.probe == "heads" else None
        if state["weights"] is None:
            return EpochPlan()
        fused, *unimodal = state["weights"]
        return EpochPlan(Weights(fused, dict(zip(names, unimodal, strict=True))))


def gains_over_overfitting(before: dict[str, Any], now: dict[str, Any]) -> list[float]:
    """Return G / dO^2 of each head from its losses on train and val at two times.

    G is the fall of its val loss, 0 where it rose; O is val loss less train loss.
    """
    raw = []
    for train_0, train_1, val_0, val_1 in zip(before["train"], now["train"], before["val"], now["val"], strict=True):
        change = max(LEAST, abs((val_1 - train_1) - (val_0 - train_0)))
        raw.append(max(0.0, val_0 - val_1) / change**2)
    return raw


ENTRY = GBlending
