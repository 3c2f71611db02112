"""LFM (Facilitating Multimodal Classification via Dynamically Learning Modality Gap, NeurIPS 2024)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np

from bss.lazy_torch import torch
from bss.strategies.base import Strategy
from bss.strategies.hooks import Context, Objective, Seen, Setting, Weights

FITTED = ((0, 50, 100, 150, 199), (0.2046, 0.4367, 0.5392, 0.8213, 0.9160))
"""Epochs of 200, and the authors' weight of classification there."""


@dataclass(frozen=True)
class Lfm(Strategy):
    """Late fusion whose heads are aligned first and classify later; there is no fusion head, and heads are summed."""

    kind: Literal["lfm"] = "lfm"
    control = "weights.unimodal=4.0"
    steady = True
    schedule: Literal["fitted", "linear"] = "fitted"
    """Weight of classification against alignment over the training: fitted interpolates between five values of the
    authors' curve, stretched to the epochs; linear goes from 0.2 to 0.9."""
    divergence: Literal["js", "code"] = "js"
    """js: Jensen-Shannon; code: the authors' public code, in which the arguments of its halves are swapped."""

    def weights(self, setting: Setting) -> Weights:
        """Return that the heads are trained alone."""
        return Weights(None, dict.fromkeys(setting.modalities, 1.0))

    def objectives(self, context: Context, seen: Seen) -> list[Objective]:
        """Return twice the weighted sum of the mean logits' cross-entropy and the heads' divergence."""
        weight = self.classification(context.epoch, context.setting.epochs)
        mean = torch.stack(list(seen.logits.values())).mean(dim=0)
        pairs = list(combinations([z.log_softmax(dim=1) for z in seen.logits.values()], 2))
        apart = torch.stack([divergence(p, q, self.divergence) for p, q in pairs]).mean(dim=0)
        classified = torch.nn.functional.cross_entropy(mean, seen.labels, reduction="none")
        return [Objective(2 * (weight * classified + (1 - weight) * apart))]

    def classification(self, epoch: int, epochs: int) -> float:
        """Return the weight of classification in `epoch` (from 0), in [0, 1]."""
        done = epoch / max(1, epochs - 1)
        return 0.2 + 0.7 * done if self.schedule == "linear" else float(np.interp(done * FITTED[0][-1], *FITTED))


def divergence(p: torch.Tensor, q: torch.Tensor, form: str) -> torch.Tensor:
    """Return the divergence of two log-probabilities [batch, classes], [batch]."""
    mean = torch.logaddexp(p, q) - np.log(2)
    if form == "code":
        return (mean.exp() * (2 * mean - p - q)).sum(dim=1) / 2
    return (p.exp() * (p - mean) + q.exp() * (q - mean)).sum(dim=1) / 2


ENTRY = Lfm
