"""ReconBoost (Boosting Can Achieve Modality Reconcilement, ICML 2024)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from bss.balance.checks import require
from bss.lazy_torch import torch
from bss.strategies.base import Strategy
from bss.strategies.hooks import Context, EpochPlan, Facts, Group, Objective, Seen, Setting, Turn, Weights


@dataclass(frozen=True)
class ReconBoost(Strategy):
    """A stage boosts one modality for some epochs, then trains all jointly; the next stage takes the next modality.

    The boosted modality learns more from samples on which the others are wrong. There is no fused loss: the logits of
    the heads are summed. The authors also learn a factor of that sum, which the heads can take up here.
    """

    kind: Literal["reconboost"] = "reconboost"
    control = "weights.fused=0.0"
    alone: int = 4
    """Epochs of a stage in which one modality learns, at least 1."""
    joint: int = 4
    """Epochs of a stage in which all do, at least 0."""
    own: float = 5.0
    """Weight of a sample in the first part, above 0 and at least `others`."""
    others: float = 1.0
    """What that weight loses per probability of the label by the other modalities, at least 0."""
    agreement: float = 0.0
    """Weight of the squared distance of the logits from the mean of the other modalities', at least 0. The public code
    has such a term without a gradient, so that 0 is what was published."""

    teachers: Literal["none", "pretrained"] = "none"
    """pretrained: encoders begin as unimodal networks of the same seed and length, trained alone under uniform
    shuffling, as in the authors' command for CREMA-D. Their training counts in the cost."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(self.alone >= 1, "alone", self.alone, "at least 1")
        require(self.joint >= 0, "joint", self.joint, "at least 0")
        require(self.others >= 0, "others", self.others, "at least 0")
        require(self.own > 0 and self.own >= self.others, "own", self.own, "above 0 and at least `others`")
        require(self.agreement >= 0, "agreement", self.agreement, "at least 0")

    @property
    def pretrained(self) -> bool:
        """Whether `teachers` is pretrained."""
        return self.teachers == "pretrained"

    def weights(self, setting: Setting) -> Weights:
        """Return that the heads are trained alone."""
        return Weights(None, dict.fromkeys(setting.modalities, 1.0))

    def plan(self, context: Context, facts: Mapping[str, Facts], modules: Mapping[Group, torch.nn.Module]) -> EpochPlan:
        """Return that each stage has a new optimiser."""
        starts = context.epoch % (self.alone + self.joint) == 0
        return EpochPlan(restarted=tuple(modules) if starts else ())

    def turns(self, context: Context) -> tuple[Turn, ...]:
        """Return one turn, of the modality that learns or of all; all encoders run in it."""
        stage, within = divmod(context.epoch, self.alone + self.joint)
        names = context.setting.modalities
        learning = (names[stage % len(names)],) if within < self.alone else names
        return (Turn(names, tuple((part, name) for name in learning for part in ("encoder", "head"))),)

    def phase(self, context: Context) -> Any:
        """Return what learns."""
        return self.turns(context)

    def objectives(self, context: Context, seen: Seen) -> list[Objective]:
        """Return the weighted loss of the modality that learns, or the loss of the summed logits."""
        assert context.turn is not None
        learning = {name for _, name in context.turn.updates}
        if len(learning) > 1:
            summed = torch.stack(list(seen.logits.values())).sum(dim=0)
            return [Objective(torch.nn.functional.cross_entropy(summed, seen.labels, reduction="none"))]
        own = seen.logits[learning.pop()]
        rest = [z.detach() for z in seen.logits.values() if z is not own]
        loss = boosted(own, torch.stack(rest).sum(dim=0), seen.labels, self.own, self.others)
        if self.agreement:
            loss = loss + self.agreement * (own - torch.stack(rest).mean(dim=0)).square().mean(dim=1)
        return [Objective(loss)]


def boosted(own: torch.Tensor, rest: torch.Tensor, labels: torch.Tensor, most: float, falling: float) -> torch.Tensor:
    """Return ``(most - falling * q) * CE(own) / C``, float [batch], with q the probability of the label by `rest`."""
    q = rest.softmax(dim=1).gather(1, labels[:, None])[:, 0]
    entropy = torch.nn.functional.cross_entropy(own, labels, reduction="none")
    return (most - falling * q) * entropy / own.shape[1]


ENTRY = ReconBoost
