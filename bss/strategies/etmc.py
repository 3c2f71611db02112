"""ETMC (Trusted Multi-View Classification with Dynamic Evidential Fusion, TPAMI 2022)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bss.balance.checks import require
from bss.lazy_torch import torch
from bss.strategies.base import Strategy
from bss.strategies.evidence import alpha_of, combined, evidential_loss
from bss.strategies.hooks import Context, Objective, Prediction, Seen, Setting, Weights


@dataclass(frozen=True)
class Etmc(Strategy):
    """Heads give evidence for classes, and say how unsure they are; Dempster's rule makes one opinion of all.

    The fused head is one more view, which TMC does not have. The losses are those of the views and of the whole.
    """

    kind: Literal["etmc"] = "etmc"
    control = "weights.label_smoothing=0.1"
    steady = True
    annealing: int = 10
    """Epochs until evidence for wrong classes costs its full weight, at least 1; 10 to 50 in public code."""

    def __post_init__(self) -> None:
        """Check the range."""
        require(self.annealing >= 1, "annealing", self.annealing, "at least 1")

    def weights(self, setting: Setting) -> Weights:
        """Return that all heads are trained."""
        return Weights(1.0, dict.fromkeys(setting.modalities, 1.0))

    def prediction(self, setting: Setting) -> Prediction:
        """Return that the combined opinion is the prediction."""
        return "evidence"

    def objectives(self, context: Context, seen: Seen) -> list[Objective]:
        """Return the sum of the evidential losses of the views and of their combination."""
        views = [alpha_of(z) for z in (*seen.logits.values(), seen.fused)]
        weight = min(1.0, context.epoch / self.annealing)
        losses = [evidential_loss(alpha, seen.labels, weight) for alpha in (*views, combined(views))]
        return [Objective(torch.stack(losses).sum(dim=0))]


ENTRY = Etmc
