"""MLB (Kontras et al., Improving Multimodal Learning with Multi-Loss Gradient Modulation, BMVC 2024)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from bss.balance.checks import require
from bss.lazy_torch import torch
from bss.strategies.by_confidence import ByConfidence, Direction
from bss.strategies.draw import Draw
from bss.strategies.hooks import Context, Gradients
from bss.strategies.scaling import check_window, scale
from bss.strategies.shares import Source, over_others, under_others


@dataclass(frozen=True)
class Mlb(ByConfidence):
    """Encoder and head of a modality that is less sure than the others get a larger gradient, else a smaller one."""

    kind: Literal["mlb"] = "mlb"
    control = "weights.encoder_gradients=1.5"
    alpha: float = 1.0
    """Strength, at least 0."""
    beta: float = 2.0
    """The largest factor, above 1; 2 is symmetrical."""
    source: Source = "heads"
    """Where confidence is read: the unimodal heads (paper), or the shares of the fused logits."""
    direction: Direction = "weak"
    """weak: strengthens the less sure modalities and slows the surer ones (paper); strong: the other way round."""
    window: tuple[float, float] = (0.0, 1.0)
    """The part of the epochs in which it acts."""

    published: ClassVar = (1.0, 1.0)

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(self.alpha >= 0, "alpha", self.alpha, "at least 0")
        require(self.beta > 1, "beta", self.beta, "above 1")
        check_window(self.window)

    def after(self, context: Context, gathered: torch.Tensor | None, gradients: Gradients, draw: Draw) -> None:
        """Scale the gradients of encoders and heads."""
        if gathered is None:
            return
        for name, factor in zip(context.setting.modalities, self.factors(gathered[:-1]), strict=True):
            scale(gradients, ("encoder", name), factor)
            scale(gradients, ("head", name), factor)

    def factors(self, confidence: torch.Tensor) -> torch.Tensor:
        """Return the factor of each modality, [M], from their (summed) confidences [M]."""
        ratio = under_others(confidence) if self.direction == "weak" else over_others(confidence)
        change = torch.tanh(self.alpha * (ratio - 1))
        return 1 + torch.where(ratio > 1, (self.beta - 1) * change, change)


ENTRY = Mlb
