"""MSES (Fujimori et al., Modality-specific Learning Rate Control for Multimodal Classification, ACPR 2019)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from bss.balance.checks import require
from bss.lazy_torch import torch
from bss.strategies.base import Method
from bss.strategies.hooks import Context, EpochPlan, Facts, Group, Onset, Setting, Split, State


@dataclass(frozen=True)
class Mses(Method):
    """Early stopping per modality: its encoder and head are frozen at their best weights when its val loss rises."""

    kind: Literal["mses"] = "mses"
    needs_heads = True
    control = "weights.encoder_gradients=0.5"
    steady = True
    patience: int = 5
    """Epochs without a new minimum of the head's val loss after which the modality stops, at least 1."""
    smoothing: float = 0.6
    """Weight of the smoothed loss so far against the new one, in [0, 1)."""

    splits: ClassVar[tuple[Split, ...]] = ("val",)
    published: ClassVar = (1.0, 1.0)

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(self.patience >= 1, "patience", self.patience, "at least 1")
        require(0 <= self.smoothing < 1, "smoothing", self.smoothing, "in [0, 1)")

    def onset(self, setting: Setting) -> Onset:
        """When a modality may stop: its loss is best after the first epoch, and then waits."""
        return Onset(1 + self.patience, "patience")

    def start(self, setting: Setting, modules: Mapping[Group, torch.nn.Module], classes: int) -> State:
        """Return what is known of each modality: nothing."""
        empty: dict[str, Any] = {
            "smoothed": None,
            "best": None,
            "waited": 0,
            "stopped": False,
            "encoder": {},
            "head": {},
        }
        return {name: dict(empty) for name in setting.modalities}

    def reads(self, context: Context) -> bool:
        """After each epoch."""
        return context.epoch > 0

    def plan(self, context: Context, facts: Mapping[str, Facts], modules: Mapping[Group, torch.nn.Module]) -> EpochPlan:
        """Stop the modalities whose time has come, and keep the weights of those that are at their best."""
        for name, loss in facts["val"].loss.items() if facts else ():
            known = context.state[name]
            if known["stopped"]:
                continue
            before = known["smoothed"]
            known["smoothed"] = loss if before is None else self.smoothing * before + (1 - self.smoothing) * loss
            self._judge(known, name, modules)
        stopped = [name for name in context.setting.modalities if context.state[name]["stopped"]]
        return EpochPlan(frozen=tuple((part, name) for name in stopped for part in ("encoder", "head")))

    def _judge(self, known: dict[str, Any], name: str, modules: Mapping[Group, torch.nn.Module]) -> None:
        parts = {"encoder": modules["encoder", name], "head": modules["head", name]}
        if known["best"] is None or known["smoothed"] < known["best"]:
            known["best"], known["waited"] = known["smoothed"], 0
            for part, module in parts.items():
                known[part] = {key: value.clone() for key, value in module.state_dict().items()}
            return
        known["waited"] += 1
        if known["waited"] >= self.patience:
            known["stopped"] = True
            for part, module in parts.items():
                module.load_state_dict(known[part])
                known[part] = {}


ENTRY = Mses
