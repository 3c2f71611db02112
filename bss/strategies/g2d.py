"""G2D (Boosting Multimodal Learning with Gradient-Guided Distillation, ICCV 2025)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from bss.balance.checks import require
from bss.lazy_torch import torch
from bss.strategies.base import Method
from bss.strategies.draw import Draw
from bss.strategies.hooks import Context, EpochPlan, Facts, Gradients, Group, Objective, Seen, Setting, Split, State
from bss.strategies.losses import weighted_loss
from bss.strategies.scaling import Scaled, scale
from bss.strategies.shares import confidence_sums
from bss.strategies.smp import check_until, waiting
from bss.strategies.umt import feature_distance


@dataclass(frozen=True)
class G2d(Method):
    """Features and fused logits learn from unimodal teachers, and the encoder of the weakest one trains alone at first.

    Costs a forward pass of the encoders more per step, and the training of the teachers, once per seed. The strategy
    smp is the freezing alone.
    """

    kind: Literal["g2d"] = "g2d"
    weighted = True
    control = "weights.encoder_gradients=0.5"
    steady = True
    features: float = 1.0
    """Weight of the mean squared distance of the features from the teachers', at least 0."""
    logits: float = 1.0
    """Weight of the divergence of the fused logits from each teacher's, at least 0."""
    temperature: float = 1.0
    """Temperature of that divergence, which is multiplied by its square; above 0."""
    freeze: bool = True
    """Whether encoders wait until `until`, in the order of their teachers' mean probability of the label."""
    decide: Literal["once", "batch"] = "once"
    """once: by that on train, and encoders that wait are frozen; batch: by that of each batch, and only the gradients
    of encoders that wait are zero, as in public code, so that momentum and weight decay still move them."""
    parameters: Scaled = "all"
    """Encoder gradients that are zero with `decide: batch`; the public code sets those of convolutions."""
    until: tuple[float, ...] | None = None
    """Shares of the epochs at which one more encoder joins, one fewer than modalities; null: evenly up to half of the
    epochs, as the authors do with two."""

    published: ClassVar = (1.0, None)
    taught: ClassVar[bool] = True
    splits: ClassVar[tuple[Split, ...]] = ("teachers",)

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name in ("features", "logits"):
            require(getattr(self, name) >= 0, name, getattr(self, name), "at least 0")
        require(self.temperature > 0, "temperature", self.temperature, "above 0")
        ok = self.freeze or self.decide == "once"
        require(ok, "decide", self.decide, "once with freeze: false, with which no encoder waits")
        ok = self.parameters == "all" or self.decide == "batch"
        require(ok, "parameters", self.parameters, "all with decide: once, which freezes whole encoders")
        check_until(self.until)

    def check(self, setting: Setting) -> None:
        """Require as many times as there are encoders to join."""
        check_until(self.until, len(setting.modalities) - 1)

    def start(self, setting: Setting, modules: Mapping[Group, torch.nn.Module], classes: int) -> State:
        """Return that the order is not known."""
        return {"order": []}

    def reads(self, context: Context) -> bool:
        """Before the first epoch, if encoders wait in one order."""
        return self.freeze and self.decide == "once" and context.epoch == 0

    def plan(self, context: Context, facts: Mapping[str, Facts], modules: Mapping[Group, torch.nn.Module]) -> EpochPlan:
        """Return which encoders are frozen."""
        if facts:
            sure = facts["teachers"].confidence
            context.state["order"] = sorted(context.setting.modalities, key=lambda name: sure[name])
        return EpochPlan(frozen=self._waiting(context, context.state["order"]))

    def objectives(self, context: Context, seen: Seen) -> list[Objective]:
        """Return the loss with what the teachers add."""
        assert seen.taught is not None
        loss = weighted_loss(seen, context.weights)
        loss = loss + self.features * feature_distance(seen.features, seen.taught.features)
        for teacher in seen.taught.logits.values():
            loss = loss + self.logits * distillation(seen.fused, teacher, self.temperature)
        return [Objective(loss)]

    def gather(self, context: Context, seen: Seen) -> torch.Tensor | None:
        """Return the teachers' summed probabilities of the labels while encoders wait by batch."""
        if self.decide == "once" or not self._waiting(context, list(context.setting.modalities)):
            return None
        assert seen.taught is not None
        return confidence_sums(seen.taught.logits, seen.labels)

    def after(self, context: Context, gathered: torch.Tensor | None, gradients: Gradients, draw: Draw) -> None:
        """Set the gradients of encoders that wait by batch to zero."""
        if gathered is None:
            return
        names = context.setting.modalities
        joined = len(names) - len(self._waiting(context, list(names)))
        learns = (gathered[:-1].argsort().argsort() < joined).to(gathered.dtype)
        for name, factor in zip(names, learns, strict=True):
            scale(gradients, ("encoder", name), factor, self.parameters)

    def _waiting(self, context: Context, order: list[str]) -> tuple[Group, ...]:
        """Return the encoders that wait if the weakest come first in `order`."""
        if not self.freeze:
            return ()
        return waiting(order, self.until, context.epoch, context.setting.epochs)


def distillation(student: torch.Tensor, teacher: torch.Tensor, temperature: float) -> torch.Tensor:
    """Return KL(teacher || student) of logits [batch, classes] over `temperature`, times its square, float [batch]."""
    p, q = (teacher / temperature).log_softmax(dim=1), (student / temperature).log_softmax(dim=1)
    return temperature**2 * (p.exp() * (p - q)).sum(dim=1)


ENTRY = G2d
