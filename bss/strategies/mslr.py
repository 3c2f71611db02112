"""MSLR (Modality-specific Learning Rates for Effective Multimodal Additive Late-fusion, Findings of ACL 2022)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

from bss.balance.checks import require
from bss.lazy_torch import torch
from bss.strategies.base import Method
from bss.strategies.hooks import (
    FIRST,
    Context,
    EpochPlan,
    Facts,
    Group,
    Objective,
    Onset,
    Seen,
    Setting,
    Split,
    State,
    Weights,
)
from bss.strategies.losses import weighted_loss

REMEMBERED = 5
"""Accuracies that the current one is compared with."""


@dataclass(frozen=True)
class Mslr(Method):
    """Each modality's encoder and head have a learning rate of their own, by the optimiser's parameter groups.

    With `loss: published` it is the paper's additive late fusion: the loss is that of the heads' summed logits, and the
    fusion head is not trained.
    """

    kind: Literal["mslr"] = "mslr"
    control = "weights.encoder_gradients=1.5"
    weighted = True
    steady = True
    mode: Literal["keep", "smooth", "dynamic"] = "dynamic"
    """keep: the coefficients; smooth: they go to their mean, linearly over the epochs; dynamic: times the val accuracy
    of the head over the mean of the five before."""
    coefficients: dict[str, float] = field(default_factory=dict)
    """Factor of train.optimiser.learning_rate by modality; 1 if left out. The paper tunes them on unimodal runs."""

    splits: ClassVar[tuple[Split, ...]] = ("val",)
    published: ClassVar = (None, 1.0)

    def __post_init__(self) -> None:
        """Check the range."""
        for name, value in self.coefficients.items():
            require(value > 0, f"coefficients.{name}", value, "above 0")

    def check(self, setting: Setting) -> None:
        """Require known modalities."""
        for name in self.coefficients:
            require(name in setting.modalities, "coefficients", name, f"one of {list(setting.modalities)}")

    @property
    def needs_val(self) -> bool:
        """Whether the rates follow accuracies on val."""
        return self.mode == "dynamic"

    @property
    def needs_heads(self) -> bool:
        """Whether the rates follow their accuracies."""
        return self.mode == "dynamic"

    def onset(self, setting: Setting) -> Onset:
        """After two accuracies, if the coefficients change nothing."""
        if any(value != 1 for value in self.coefficients.values()):
            return FIRST
        return Onset(2, "mode") if self.mode == "dynamic" else Onset(math.inf, "coefficients")

    def start(self, setting: Setting, modules: Mapping[Group, torch.nn.Module], classes: int) -> State:
        """Return the last accuracies of each head: none."""
        return {"accuracies": {name: [] for name in setting.modalities}}

    def reads(self, context: Context) -> bool:
        """After each epoch, if the mode is dynamic."""
        return self.mode == "dynamic" and context.epoch > 0

    def plan(self, context: Context, facts: Mapping[str, Facts], modules: Mapping[Group, torch.nn.Module]) -> EpochPlan:
        """Return the rates."""
        names, last = context.setting.modalities, max(1, context.setting.epochs - 1)
        rates = {name: self.coefficients.get(name, 1.0) for name in names}
        if self.mode == "smooth":
            mean = sum(rates.values()) / len(rates)
            rates = {name: mean + (rate - mean) * (1 - context.epoch / last) for name, rate in rates.items()}
        if facts:
            for name, accuracy in facts["val"].accuracy.items():
                earlier = context.state["accuracies"][name]
                rates[name] *= ratio_to_mean(accuracy, earlier)
                context.state["accuracies"][name] = [*earlier, accuracy][-REMEMBERED:]
        return EpochPlan(rates=rates)

    def objectives(self, context: Context, seen: Seen) -> list[Objective]:
        """Return the loss, as published that of the summed logits."""
        if self.loss == "product":
            return super().objectives(context, seen)
        summed = torch.stack(list(seen.logits.values())).sum(dim=0)
        return [Objective(weighted_loss(replace(seen, fused=summed), Weights(1.0, {})))]


def ratio_to_mean(accuracy: float, earlier: list[float]) -> float:
    """Return `accuracy` over the mean of the `earlier` ones; 1 if there are none or their mean is 0."""
    mean = sum(earlier) / len(earlier) if earlier else 0.0
    return accuracy / mean if mean > 0 and accuracy > 0 else 1.0


ENTRY = Mslr
