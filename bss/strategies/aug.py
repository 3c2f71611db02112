"""AUG (Rethinking Multimodal Learning: Mitigating Classification Ability Disproportion, NeurIPS 2025)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from bss.balance.checks import require
from bss.lazy_torch import torch
from bss.strategies.base import Strategy
from bss.strategies.draw import Draw
from bss.strategies.hooks import (
    Context,
    EpochPlan,
    Facts,
    Gradients,
    Group,
    Objective,
    Onset,
    Seen,
    Setting,
    Split,
    Turn,
    Weights,
)


@dataclass(frozen=True)
class Aug(Strategy):
    """The head of the least sure modality grows: it gets another branch, which learns what the older ones leave.

    Late fusion. Per batch the modalities take turns; heads end in a layer that they share.
    """

    kind: Literal["aug"] = "aug"
    control = "weights.fused=0.0"
    steady = True
    width: int = 256
    """Width of a branch, at least 1."""
    every: int | None = None
    """Epochs after which a head may grow, at least 1; null: a tenth of the training (the authors, of 200)."""
    compare: Literal["difference", "ratio"] = "difference"
    """How the largest mean probability of the label on train is compared with the smallest: the paper uses their
    difference, the public code their ratio minus 1."""
    threshold: float = 0.01
    """The head grows if that is above it; at least 0."""
    residual: float = 0.5
    """How much of the label the newest branch does not have to explain, per probability of the older ones; at least 0.
    The paper searches 0.1 to 1."""
    older: Literal["sum", "softmax"] = "sum"
    """What the older branches explain: the sum of their probabilities, at most `1 / residual` (paper), or the
    probability by their summed logits (public code)."""
    train_new: bool = True
    """False leaves branches after the first at their random weights, as the public code does by mistake."""

    splits: ClassVar[tuple[Split, ...]] = ("train",)

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(self.width >= 1, "width", self.width, "at least 1")
        require(self.every is None or self.every >= 1, "every", self.every, "null or at least 1")
        require(self.threshold >= 0, "threshold", self.threshold, "at least 0")
        require(self.residual >= 0, "residual", self.residual, "at least 0")

    def onset(self, setting: Setting) -> Onset:
        """When a head may first grow."""
        return Onset(self._period(setting), "every")

    def weights(self, setting: Setting) -> Weights:
        """Return that the heads are trained alone."""
        return Weights(None, dict.fromkeys(setting.modalities, 1.0))

    def network(self, setting: Setting) -> Mapping[str, Any]:
        """Return heads with room for a branch whenever one may come."""
        most = 1 + (setting.epochs - 1) // self._period(setting)
        return {"heads": {"shared": True, "hidden": self.width, "branches": most}}

    def reads(self, context: Context) -> bool:
        """Where a head may grow."""
        return context.epoch > 0 and context.epoch % self._period(context.setting) == 0

    def plan(self, context: Context, facts: Mapping[str, Facts], modules: Mapping[Group, torch.nn.Module]) -> EpochPlan:
        """Let the head of the least sure modality grow."""
        if facts:
            sure = facts["train"].confidence
            weakest, strongest = min(sure, key=sure.__getitem__), max(sure.values())
            ratio = strongest / max(sure[weakest], 1e-12) - 1
            gap = ratio if self.compare == "ratio" else strongest - sure[weakest]
            if gap > self.threshold:
                head: Any = modules["head", weakest]
                head.grow()
        return EpochPlan()

    def turns(self, context: Context) -> tuple[Turn, ...]:
        """Return a turn per modality, of its encoder and its head."""
        return tuple(Turn((name,), (("encoder", name), ("head", name))) for name in context.setting.modalities)

    def objectives(self, context: Context, seen: Seen) -> list[Objective]:
        """Return the loss of the turn's modality."""
        assert seen.branches is not None
        ((name, features),) = seen.features.items()
        return [Objective(self.loss(seen.branches(name, features), seen.labels))]

    def loss(self, branches: list[torch.Tensor], labels: torch.Tensor) -> torch.Tensor:
        """Return the loss of one head, float [batch], by the logits [batch, classes] of its branches."""

        def entropy(logits: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.cross_entropy(logits, labels, reduction="none")

        *older, newest = branches
        if not older:
            return entropy(newest)
        before = torch.stack(older).sum(dim=0)
        known = before.softmax(dim=1) if self.older == "softmax" else torch.stack(older).softmax(dim=2).sum(dim=0)
        left = (1 - self.residual * known.detach().gather(1, labels[:, None])[:, 0]).clamp_min(0)
        return entropy(before + newest) + entropy(before) + left * entropy(newest)

    def after(self, context: Context, gathered: torch.Tensor | None, gradients: Gradients, draw: Draw) -> None:
        """Keep new branches unchanged if they must not learn."""
        if self.train_new or context.turn is None:
            return
        head: Any = gradients.modules["head", context.turn.encoders[0]]
        for branch in list(head.branches)[1:]:
            branch.zero_grad(set_to_none=True)

    def _period(self, setting: Setting) -> int:
        return self.every or max(1, setting.epochs // 10)


ENTRY = Aug
