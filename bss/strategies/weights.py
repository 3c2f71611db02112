"""Controls: another weighing of the losses, encoder gradients times a constant, smoothed labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bss.balance.checks import require
from bss.lazy_torch import torch
from bss.strategies.base import Strategy
from bss.strategies.draw import Draw
from bss.strategies.hooks import Context, Gradients, Objective, Seen, Setting, Weights
from bss.strategies.losses import weighted_loss
from bss.strategies.scaling import scale, warning_of_adam


@dataclass(frozen=True)
class Weighted(Strategy):
    """What many methods amount to without their adaptive part; the controls that explain most of their gains.

    ``unimodal: 0`` trains the fused loss only, ``fused: 0`` independent unimodal networks whose logits are summed. A
    loss of weight 0 is not trained on, and its logits take no part in the prediction.
    """

    kind: Literal["weights"] = "weights"
    weighted = True
    steady = True
    fused: float | None = None
    """Weight of the fused cross-entropy; null: that of network.loss_weights."""
    unimodal: float | None = None
    """Weight of each head's cross-entropy; null: that of network.loss_weights."""
    encoder_gradients: float = 1.0
    """Factor of the encoders' gradients, above 0. Adam barely notices a constant factor."""
    label_smoothing: float = 0.0
    """Share of each target that is spread over all classes, on all heads, in [0, 1)."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name in ("fused", "unimodal"):
            value = getattr(self, name)
            require(value is None or value >= 0, name, value, "null or at least 0")
        require(self.encoder_gradients > 0, "encoder_gradients", self.encoder_gradients, "above 0")
        require(0 <= self.label_smoothing < 1, "label_smoothing", self.label_smoothing, "in [0, 1)")

    def check(self, setting: Setting) -> None:
        """Require something to train on."""
        weights = self.weights(setting)
        ok = weights.fused is not None or bool(weights.unimodal)
        require(ok, "fused", weights.fused, "above 0 where unimodal is 0")
        once = self.label_smoothing == 0 or setting.label_smoothing == 0
        right = f"0 with train.label_smoothing {setting.label_smoothing:g}, which smooths the labels of every row"
        require(once, "label_smoothing", self.label_smoothing, right)

    def warning(self, setting: Setting) -> str | None:
        """Scaling gradients does next to nothing under Adam."""
        return None if self.encoder_gradients == 1 else warning_of_adam(setting)

    def weights(self, setting: Setting) -> Weights:
        """Return the weights, without those that are set to 0."""
        fused = setting.fused if self.fused is None else self.fused or None
        if self.unimodal == 0:
            return Weights(fused, {})
        weight = setting.unimodal if self.unimodal is None else self.unimodal
        return Weights(fused, dict.fromkeys(setting.modalities, weight))

    def objectives(self, context: Context, seen: Seen) -> list[Objective]:
        """Return the weighted loss of smoothed labels."""
        return [Objective(weighted_loss(seen, context.weights, self.label_smoothing))]

    def after(self, context: Context, gathered: torch.Tensor | None, gradients: Gradients, draw: Draw) -> None:
        """Scale the encoders' gradients."""
        if self.encoder_gradients != 1:
            for name in context.setting.modalities:
                scale(gradients, ("encoder", name), self.encoder_gradients)


ENTRY = Weighted
