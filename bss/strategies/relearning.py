"""Diagnosing and Re-learning (Diagnosing and Re-learning for Balanced Multimodal Learning, ECCV 2024)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from bss.balance.checks import require
from bss.lazy_torch import torch
from bss.strategies.base import Method
from bss.strategies.hooks import Context, EpochPlan, Facts, Group, Onset, Setting, Split, State


@dataclass(frozen=True)
class Relearning(Method):
    """A few times, each encoder goes back towards its first weights, the further the less its features carry over.

    How well they do is by how much the purity of their clusters is the same on train and on val. Batch statistics stay.
    It keeps a copy of the encoders, and costs four passes each time.
    """

    kind: Literal["relearning"] = "relearning"
    steady = True
    every: int = 20
    """Epochs between two times, at least 1."""
    times: int = 3
    """How often, at least 0."""
    strength: float = 3.0
    """The weight of the first weights is the tanh of this times the gap; at least 0."""
    momentum: Literal["kept", "dropped"] = "kept"
    """What becomes of the momentum of an encoder that goes back; the public code keeps it."""

    splits: ClassVar[tuple[Split, ...]] = ("train", "val")
    clustered: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(self.every >= 1, "every", self.every, "at least 1")
        require(self.times >= 0, "times", self.times, "at least 0")
        require(self.strength >= 0, "strength", self.strength, "at least 0")

    def onset(self, setting: Setting) -> Onset:
        """After `every` epochs."""
        return Onset(self.every, "every") if self.times else Onset(math.inf, "times")

    def start(self, setting: Setting, modules: Mapping[Group, torch.nn.Module], classes: int) -> State:
        """Return the encoders' first weights."""
        if self.times == 0:
            return {}
        names = setting.modalities
        return {name: [p.detach().clone() for p in modules["encoder", name].parameters()] for name in names}

    def reads(self, context: Context) -> bool:
        """Where encoders go back."""
        return context.epoch > 0 and context.epoch % self.every == 0 and context.epoch // self.every <= self.times

    def plan(self, context: Context, facts: Mapping[str, Facts], modules: Mapping[Group, torch.nn.Module]) -> EpochPlan:
        """Take the encoders back."""
        if not facts:
            return EpochPlan()
        names = context.setting.modalities
        for name in names:
            weight = self.weight(abs(facts["train"].purity[name] - facts["val"].purity[name]))
            parameters: Any = modules["encoder", name].parameters()
            with torch.no_grad():
                for parameter, first in zip(parameters, context.state[name], strict=True):
                    parameter.lerp_(first, weight)
        encoders: tuple[Group, ...] = tuple(("encoder", name) for name in names)
        return EpochPlan(restarted=encoders if self.momentum == "dropped" else ())

    def weight(self, gap: float) -> float:
        """Return the weight of the first weights, in [0, 1)."""
        return math.tanh(self.strength * gap)


ENTRY = Relearning
