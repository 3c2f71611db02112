"""InfoReg (Adaptive Unimodal Regulation for Balanced Multimodal Information Acquisition, CVPR 2025)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from bss.balance.checks import require
from bss.lazy_torch import torch
from bss.strategies.draw import Draw
from bss.strategies.hooks import (
    FIRST,
    Context,
    EpochPlan,
    Facts,
    Gradients,
    Group,
    Objective,
    Onset,
    Seen,
    Setting,
    State,
    Weights,
)
from bss.strategies.losses import weighted_loss
from bss.strategies.shares import (
    BySource,
    Source,
    check_source,
    confidence_sums,
    logits_of,
    mean_of_others,
    share_logits,
)


@dataclass(frozen=True)
class InfoReg(BySource):
    """While a modality still takes in much, the encoders that are surer than the others are held near their start.

    How much it takes in is how the trace of the Fisher information grows, a mean over the last epochs. The start is
    that of the epoch, which costs a copy of the encoders. With `loss: published` the unimodal losses are those of the
    shares of the fused logits, and the unimodal heads are not trained.
    """

    kind: Literal["inforeg"] = "inforeg"
    weighted = True
    control = "weights.encoder_gradients=0.5"
    steady = True
    threshold: float = 0.04
    """Growth of the mean trace, relative to it, above which a modality is held, in [0, 1); the public code has 0.05."""
    strength: float = 0.95
    """Strength of the pull at equal confidence, at least 0."""
    strengths: dict[str, float] = field(default_factory=dict)
    """That of single modalities, in its place; the public code has 0.1 for video."""
    gate: str | None = None
    """The modality whose trace decides for all, audio in the public code; null: each by its own."""
    gap: Literal["mean", "sum"] = "mean"
    """What is compared of the modalities' confidence: its mean over the batch, or its sum, as in the public code, whose
    pull is then nearly the same whatever the gap."""
    first_epoch: bool = False
    """Whether modalities are held in the first epoch, which has no trace before it, as in the public code."""
    epochs: int = 10
    """Over which traces are averaged, those before the first being 0; at least 1."""
    source: Source = "share"
    """Where confidence is read: the modality's share of the fused logits (paper), or its head."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(0 <= self.threshold < 1, "threshold", self.threshold, "in [0, 1), as a trace grows by 1 at most")
        require(self.strength >= 0, "strength", self.strength, "at least 0")
        for name, value in self.strengths.items():
            require(value >= 0, f"strengths.{name}", value, "at least 0")
        require(self.epochs >= 1, "epochs", self.epochs, "at least 1")

    def check(self, setting: Setting) -> None:
        """Require shares that mean something where they are used, and known modalities."""
        check_source(setting, "share" if self.loss == "published" else self.source)
        for key, names in (("strengths", list(self.strengths)), ("gate", [] if self.gate is None else [self.gate])):
            for name in names:
                require(name in setting.modalities, key, name, f"one of {list(setting.modalities)}")

    def onset(self, setting: Setting) -> Onset:
        """After the first trace, or at once."""
        return FIRST if self.first_epoch else Onset(1, "first_epoch")

    def start(self, setting: Setting, modules: Mapping[Group, torch.nn.Module], classes: int) -> State:
        """Return that nothing has been taken in."""
        count = len(setting.modalities)
        return {"trace": torch.zeros(count), "traces": [], "held": [False] * count, "start": {}}

    def plan(self, context: Context, facts: Mapping[str, Facts], modules: Mapping[Group, torch.nn.Module]) -> EpochPlan:
        """Decide which modalities may be held, and keep the weights that they are held to."""
        state, names = context.state, context.setting.modalities
        if context.epoch > 0:
            state["traces"] = [*state["traces"], state["trace"].tolist()][-self.epochs - 1 :]
            state["trace"] = torch.zeros_like(state["trace"])
        of_each = [[epoch[i] for epoch in state["traces"]] for i in range(len(names))]
        held = [growth(traces, self.epochs) > self.threshold for traces in of_each]
        if self.gate is not None:
            held = [held[names.index(self.gate)]] * len(names)
        state["held"] = [self.first_epoch] * len(names) if context.epoch == 0 else held
        state["start"] = {
            name: [p.detach().clone() for p in modules["encoder", name].parameters()] if held else []
            for name, held in zip(names, state["held"], strict=True)
        }
        return EpochPlan()

    def objectives(self, context: Context, seen: Seen) -> list[Objective]:
        """Return the loss, as published that of the fused logits and of each modality's share of them."""
        if self.loss == "product":
            return super().objectives(context, seen)
        shares = share_logits(seen)
        if seen.ignored is not None:  # a share of no features has the bias, which must not learn from them
            shown = zip(shares.items(), (~seen.ignored).unbind(dim=1), strict=True)
            shares = {name: z * there[:, None] for (name, z), there in shown}
        return [Objective(weighted_loss(replace(seen, logits=shares), Weights(1.0, dict.fromkeys(shares, 1.0))))]

    def gather(self, context: Context, seen: Seen) -> torch.Tensor:
        """Return the summed probabilities of the labels, and their number."""
        return confidence_sums(logits_of(seen, self.source), seen.labels)

    def after(self, context: Context, gathered: torch.Tensor | None, gradients: Gradients, draw: Draw) -> None:
        """Add up squared gradients, and pull the encoders that are held."""
        assert gathered is not None
        names = context.setting.modalities
        pulls = self.pulls(gathered[:-1] if self.gap == "sum" else gathered[:-1] / gathered[-1], names)
        for i, name in enumerate(names):
            found = gradients.of(("encoder", name))
            if found:
                context.state["trace"][i] += torch.stack([g.square().mean() for g in found]).sum()
            if not context.state["held"][i]:
                continue
            parameters: Any = gradients.modules["encoder", name].parameters()
            for parameter, start in zip(parameters, context.state["start"][name], strict=True):
                if parameter.grad is not None:
                    parameter.grad.add_(pulls[i] * (parameter - start))

    def pulls(self, confidence: torch.Tensor, names: tuple[str, ...]) -> torch.Tensor:
        """Return the strength of the pull of each of `names`, [M], from confidences [M]: 0 up to that of the others."""
        ahead = confidence - mean_of_others(confidence)
        unit = torch.where(ahead > 0, torch.exp(torch.tanh(ahead)), 0.0)
        return torch.stack([self.strengths.get(name, self.strength) * x for name, x in zip(names, unit, strict=True)])


def growth(traces: list[float], epochs: int) -> float:
    """Return ``(A - B) / A`` with A the mean of the last `epochs` of `traces` and B that of one epoch before."""
    padded = [0.0] * (epochs + 1) + traces
    now, before = sum(padded[-epochs:]), sum(padded[-epochs - 1 : -1])
    return (now - before) / now if now > 0 else 0.0


ENTRY = InfoReg
