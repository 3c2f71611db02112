"""OGM and OGM-GE (Peng et al., Balanced Multimodal Learning via On-the-fly Gradient Modulation, CVPR 2022)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bss.balance.checks import require
from bss.lazy_torch import torch
from bss.strategies.by_confidence import ByConfidence, Direction
from bss.strategies.draw import Draw
from bss.strategies.hooks import Context, Gradients
from bss.strategies.scaling import Scaled, check_window, scale, scaled
from bss.strategies.shares import Source, over_others, under_others


@dataclass(frozen=True)
class Ogm(ByConfidence):
    """The encoder of a modality that is surer of the labels than the others gets a smaller gradient."""

    kind: Literal["ogm"] = "ogm"
    control = "weights.encoder_gradients=0.5"
    alpha: float = 0.3
    """Strength, at least 0; the authors take 0.8 on CREMA-D and 0.1 to 0.3 elsewhere."""
    noise: bool = True
    """OGM-GE: adds normal noise of the standard deviation of each encoder gradient, all modalities'."""
    smooth: bool = False
    """True: continuous at balance, ``1 - tanh(alpha * (ratio - 1))``; paper and code have ``ratio``."""
    source: Source = "share"
    """Where confidence is read: the modality's share of the fused logits (paper), or its head."""
    direction: Direction = "weak"
    """weak: slows the surer modalities (paper); strong: slows those that are less sure."""
    parameters: Scaled = "all"
    """Encoder gradients that are scaled; the authors' code scales those of convolutions."""
    window: tuple[float, float] = (0.0, 0.5)
    """The part of the epochs in which it acts."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(self.alpha >= 0, "alpha", self.alpha, "at least 0")
        check_window(self.window)

    def after(self, context: Context, gathered: torch.Tensor | None, gradients: Gradients, draw: Draw) -> None:
        """Scale the encoders' gradients, and add noise."""
        if gathered is None:
            return
        for name, factor in zip(context.setting.modalities, self.factors(gathered[:-1]), strict=True):
            spreads = [_spread(g) for g in scaled(gradients, ("encoder", name), self.parameters)]
            scale(gradients, ("encoder", name), factor, self.parameters)
            if self.noise:
                random = draw.generator(f"noise {name}")
                for gradient, spread in zip(
                    scaled(gradients, ("encoder", name), self.parameters), spreads, strict=True
                ):
                    drawn = torch.randn(gradient.shape, generator=random, device=gradient.device)
                    gradient.add_(spread * drawn)

    def factors(self, confidence: torch.Tensor) -> torch.Tensor:
        """Return the factor of each modality, [M], from their (summed) confidences [M]."""
        ratio = over_others(confidence) if self.direction == "weak" else under_others(confidence)
        return torch.where(ratio > 1, 1 - torch.tanh(self.alpha * (ratio - 1 if self.smooth else ratio)), 1.0)


def _spread(gradient: torch.Tensor) -> torch.Tensor:
    """Return the standard deviation, of a single element 0, plus 1e-8."""
    return (gradient.std() if gradient.numel() > 1 else gradient.new_zeros(())) + 1e-8


ENTRY = Ogm
