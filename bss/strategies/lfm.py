"""LFM (Facilitating Multimodal Classification via Dynamically Learning Modality Gap, NeurIPS 2024)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from bss.balance.checks import require
from bss.lazy_torch import torch
from bss.strategies.base import Strategy
from bss.strategies.hooks import Context, Group, Objective, Seen, Setting, Split, State, Weights
from bss.strategies.losses import mean_over_pairs

FITTED = ((0, 50, 100, 150, 199), (0.2046, 0.4367, 0.5392, 0.8213, 0.9160))
"""Epochs of 200, and the authors' weight of classification there."""


@dataclass(frozen=True)
class Lfm(Strategy):
    """Late fusion whose heads are aligned first and classify later; there is no fusion head, and heads are summed."""

    kind: Literal["lfm"] = "lfm"
    control = "weights.unimodal=4.0"
    steady = True
    schedule: Literal["fitted", "linear", "learned"] = "fitted"
    """Weight of classification against alignment over the training: fitted interpolates between five values of the
    authors' curve, stretched to the epochs; linear goes from 0.2 to 0.9; learned starts with the first of the five and
    descends before each epoch along the gradient of the val loss after one step, by a batch of train and one of val."""
    look_ahead: float = 0.01
    """Length of that step, above 0: the learning rate of plain gradient descent."""
    rate: float = 1.0
    """Learning rate of the weight if it is learned, at least 0."""
    divergence: Literal["js", "code"] = "js"
    """js: Jensen-Shannon; code: the authors' public code, in which the arguments of its halves are swapped."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(self.look_ahead > 0, "look_ahead", self.look_ahead, "above 0")
        require(self.rate >= 0, "rate", self.rate, "at least 0")

    @property
    def needs_val(self) -> bool:
        """Whether the weight is learned on val."""
        return self.schedule == "learned"

    def start(self, setting: Setting, modules: Mapping[Group, torch.nn.Module], classes: int) -> State:
        """Return the weight of classification if it is learned."""
        return {"weight": FITTED[1][0]} if self.schedule == "learned" else {}

    def adapts(self, context: Context) -> bool:
        """Before each epoch but the first, if the weight is learned."""
        return self.schedule == "learned" and context.epoch > 0

    def adapt(
        self, context: Context, batches: Mapping[Split, Callable[[], Seen]], modules: Mapping[Group, torch.nn.Module]
    ) -> None:
        """Move the weight against the derivative of the val loss after one step on train.

        The step is linear in the weight, so that the derivative is the product of two gradients.
        """
        weight = context.state["weight"]
        learning = {p: None for module in modules.values() for p in module.parameters() if p.requires_grad}
        parameters = list(learning)
        classified, apart = self.losses(batches["train"]())
        pull, align = (_gradients(loss.mean(), parameters) for loss in (classified, apart))
        before = [p.detach().clone() for p in parameters]
        with torch.no_grad():
            for p, x, y in zip(parameters, pull, align, strict=True):
                p.sub_(2 * self.look_ahead * (weight * x + (1 - weight) * y))
        ahead = _gradients(self.losses(batches["val"]())[0].mean(), parameters)
        with torch.no_grad():
            for p, x in zip(parameters, before, strict=True):
                p.copy_(x)
            found = torch.stack([(z * (x - y)).sum() for x, y, z in zip(pull, align, ahead, strict=True)]).sum()
        summed, ranks = context.total(torch.stack([found, torch.ones_like(found)])).tolist()
        slope = -2 * self.look_ahead * summed / ranks
        context.state["weight"] = min(1.0, max(0.0, weight - self.rate * slope))

    def weights(self, setting: Setting) -> Weights:
        """Return that the heads are trained alone."""
        return Weights(None, dict.fromkeys(setting.modalities, 1.0))

    def objectives(self, context: Context, seen: Seen) -> list[Objective]:
        """Return twice the weighted sum of the mean logits' cross-entropy and the heads' divergence."""
        learned = self.schedule == "learned"
        weight = context.state["weight"] if learned else self.classification(context.epoch, context.setting.epochs)
        classified, apart = self.losses(seen)
        return [Objective(2 * (weight * classified + (1 - weight) * apart))]

    def losses(self, seen: Seen) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the mean logits' cross-entropy and the heads' divergence, each [batch].

        The divergence is the mean over the pairs of modalities that a sample shows; 0 if there is none.
        """
        mean = torch.stack(list(seen.logits.values())).mean(dim=0)
        apart = mean_over_pairs(
            {name: z.log_softmax(dim=1) for name, z in seen.logits.items()},
            seen.ignored,
            lambda p, q: divergence(p, q, self.divergence),
        )
        return torch.nn.functional.cross_entropy(mean, seen.labels, reduction="none"), apart

    def classification(self, epoch: int, epochs: int) -> float:
        """Return the weight of classification in `epoch` (from 0), in [0, 1], if it is not learned."""
        done = epoch / max(1, epochs - 1)
        return 0.2 + 0.7 * done if self.schedule == "linear" else float(np.interp(done * FITTED[0][-1], *FITTED))


def divergence(p: torch.Tensor, q: torch.Tensor, form: str) -> torch.Tensor:
    """Return the divergence of two log-probabilities [batch, classes], [batch]."""
    mean = torch.logaddexp(p, q) - np.log(2)
    if form == "code":
        return (mean.exp() * (2 * mean - p - q)).sum(dim=1) / 2
    return (p.exp() * (p - mean) + q.exp() * (q - mean)).sum(dim=1) / 2


def _gradients(loss: torch.Tensor, parameters: list[torch.nn.Parameter]) -> tuple[torch.Tensor, ...]:
    """Return the gradient of `loss` by each of `parameters`, zeros where it does not depend on it."""
    return torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True, materialize_grads=True)


ENTRY = Lfm
