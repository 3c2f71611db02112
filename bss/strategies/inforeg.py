"""InfoReg (Adaptive Unimodal Regulation for Balanced Multimodal Information Acquisition, CVPR 2025)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from bss.balance.checks import require
from bss.lazy_torch import torch
from bss.strategies.draw import Draw
from bss.strategies.hooks import Context, EpochPlan, Facts, Gradients, Group, Onset, Seen, Setting, State
from bss.strategies.shares import BySource, Source, confidence_sums, logits_of, mean_of_others


@dataclass(frozen=True)
class InfoReg(BySource):
    """While a modality still takes in much, the encoders that are surer than the others are held near their start.

    How much it takes in is how the trace of the Fisher information grows, a mean over the last epochs. The start is
    that of the epoch, which costs a copy of the encoders. In the public code the trace of one modality decides for all.
    """

    kind: Literal["inforeg"] = "inforeg"
    control = "weights.encoder_gradients=0.5"
    steady = True
    threshold: float = 0.04
    """Growth of the mean trace, relative to it, above which a modality is held, in [0, 1); the public code has 0.05."""
    strength: float = 0.95
    """Strength of the pull at equal confidence, at least 0; the public code has 0.1 for video."""
    epochs: int = 10
    """Over which traces are averaged, those before the first being 0; at least 1."""
    source: Source = "share"
    """Where confidence is read: the modality's share of the fused logits (paper), or its head."""

    published: ClassVar = (1.0, 1.0)

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(0 <= self.threshold < 1, "threshold", self.threshold, "in [0, 1), as a trace grows by 1 at most")
        require(self.strength >= 0, "strength", self.strength, "at least 0")
        require(self.epochs >= 1, "epochs", self.epochs, "at least 1")

    def onset(self, setting: Setting) -> Onset:
        """After the first trace."""
        return Onset(1)

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
        state["held"] = [growth(traces, self.epochs) > self.threshold for traces in of_each]
        state["start"] = {
            name: [p.detach().clone() for p in modules["encoder", name].parameters()] if held else []
            for name, held in zip(names, state["held"], strict=True)
        }
        return EpochPlan()

    def gather(self, context: Context, seen: Seen) -> torch.Tensor:
        """Return the summed probabilities of the labels, and their number."""
        return confidence_sums(logits_of(seen, self.source), seen.labels)

    def after(self, context: Context, gathered: torch.Tensor | None, gradients: Gradients, draw: Draw) -> None:
        """Add up squared gradients, and pull the encoders that are held."""
        assert gathered is not None
        confidence = gathered[:-1] / gathered[-1]
        pulls = self.pulls(confidence)
        for i, name in enumerate(context.setting.modalities):
            found = gradients.of(("encoder", name))
            if found:
                context.state["trace"][i] += torch.stack([g.square().mean() for g in found]).sum()
            if not context.state["held"][i]:
                continue
            parameters: Any = gradients.modules["encoder", name].parameters()
            for parameter, start in zip(parameters, context.state["start"][name], strict=True):
                if parameter.grad is not None:
                    parameter.grad.add_(pulls[i] * (parameter - start))

    def pulls(self, confidence: torch.Tensor) -> torch.Tensor:
        """Return the strength of each modality's pull [M] from mean confidences [M]: 0 up to the mean of the others."""
        ahead = confidence - mean_of_others(confidence)
        return torch.where(ahead > 0, self.strength * torch.exp(torch.tanh(ahead)), 0.0)


def growth(traces: list[float], epochs: int) -> float:
    """Return ``(A - B) / A`` with A the mean of the last `epochs` of `traces` and B that of one epoch before."""
    padded = [0.0] * (epochs + 1) + traces
    now, before = sum(padded[-epochs:]), sum(padded[-epochs - 1 : -1])
    return (now - before) / now if now > 0 else 0.0


ENTRY = InfoReg
