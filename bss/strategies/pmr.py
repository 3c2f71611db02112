"""PMR (Fan et al., Prototypical Modal Rebalance for Multimodal Learning, CVPR 2023)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from bss.balance.checks import require
from bss.lazy_torch import torch
from bss.strategies.base import Method
from bss.strategies.draw import Draw
from bss.strategies.hooks import Context, EpochPlan, Facts, Gradients, Group, Objective, Seen, Setting, State
from bss.strategies.losses import one_hot, weighted_loss
from bss.strategies.scaling import check_window, inside


@dataclass(frozen=True)
class Pmr(Method):
    """A modality whose features are further from their class prototypes than the best one's is drawn to them.

    Prototypes are means of the features of the training passes, smoothed from epoch to epoch. The ratio of the
    modalities is that of each part of a batch, over all ranks.
    """

    kind: Literal["pmr"] = "pmr"
    control = "weights.unimodal=4.0"
    alpha: float = 1.0
    """Strength, at least 0."""
    momentum: float = 0.2
    """Weight of the old prototypes against those of the last epoch, in [0, 1)."""
    window: tuple[float, float] = (0.0, 0.67)
    """The part of the epochs in which it acts; the first has no prototypes."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(self.alpha >= 0, "alpha", self.alpha, "at least 0")
        require(0 <= self.momentum < 1, "momentum", self.momentum, "in [0, 1)")
        check_window(self.window)

    def start(self, setting: Setting, modules: Mapping[Group, torch.nn.Module], classes: int) -> State:
        """Return prototypes of zeros, all marked unknown, and sums of the features of this epoch."""
        heads: dict[str, Any] = {name: modules["head", name] for name in setting.modalities}
        zeros = {name: torch.zeros(classes, head.in_features) for name, head in heads.items()}
        sums = {name: x.clone() for name, x in zeros.items()}
        known = torch.zeros(classes, dtype=torch.bool)
        return {"prototypes": zeros, "known": known, "sums": sums, "counts": torch.zeros(classes)}

    def plan(self, context: Context, facts: Mapping[str, Facts], modules: Mapping[Group, torch.nn.Module]) -> EpochPlan:
        """Move the prototypes to the means of the last epoch; a class that it did not show keeps its own."""
        state = context.state
        counts, known = state["counts"][:, None], state["known"][:, None]
        for name, old in state["prototypes"].items():
            new = state["sums"][name] / counts.clamp_min(1)
            moved = torch.where(known, self.momentum * old + (1 - self.momentum) * new, new)
            state["prototypes"][name] = torch.where(counts > 0, moved, old)
            state["sums"][name] = torch.zeros_like(old)
        state["known"] = state["known"] | (state["counts"] > 0)
        state["counts"] = torch.zeros_like(state["counts"])
        return EpochPlan()

    def phase(self, context: Context) -> Any:
        """Return whether there are prototypes to compare with, and whether features are still summed."""
        epochs = context.setting.epochs
        compared = context.epoch > 0 and inside(self.window, context.epoch, epochs)
        return compared, context.epoch < self.window[1] * epochs

    def objectives(self, context: Context, seen: Seen) -> list[Objective]:
        """Return the loss, with that of the prototypes for the modalities behind."""
        loss = weighted_loss(seen, context.weights)
        if context.epoch == 0 or not inside(self.window, context.epoch, context.setting.epochs):
            return [Objective(loss)]
        state = context.state
        counted = state["known"][seen.labels].to(loss.dtype)
        losses = {
            name: counted
            * torch.nn.functional.cross_entropy(
                closeness(x, state["prototypes"][name], state["known"]), seen.labels, reduction="none"
            )
            for name, x in seen.features.items()
        }
        scores = context.total(torch.stack([(counted * torch.exp(-x)).sum() for x in losses.values()]))
        behind = (scores.max() / scores.clamp_min(torch.finfo(scores.dtype).tiny) - 1).clamp(0, 1)
        for weight, of_prototypes in zip(behind, losses.values(), strict=True):
            loss = loss + self.alpha * weight * of_prototypes
        return [Objective(loss)]

    def gather(self, context: Context, seen: Seen) -> torch.Tensor | None:
        """Return the sum of the features of each class and modality, and the counts of the classes."""
        if context.epoch >= self.window[1] * context.setting.epochs:
            return None
        shown = one_hot(seen.labels, seen.fused.shape[1]).T
        return torch.cat([*((shown @ x).flatten() for x in seen.features.values()), shown.sum(dim=1)])

    def after(self, context: Context, gathered: torch.Tensor | None, gradients: Gradients, draw: Draw) -> None:
        """Add the sums of the step to those of the epoch."""
        if gathered is None:
            return
        sums = context.state["sums"]
        *features, counts = gathered.split([*(x.numel() for x in sums.values()), len(context.state["counts"])])
        for name, found in zip(list(sums), features, strict=True):
            sums[name] = sums[name] + found.view_as(sums[name])
        context.state["counts"] = context.state["counts"] + counts


def closeness(features: torch.Tensor, prototypes: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """Return minus the distances of `features` [batch, width] to the `prototypes` [classes, width], [batch, classes].

    Classes that are not `known` [classes] are far from everything.
    """
    distances = ((features[:, None] - prototypes).square().sum(dim=2) + 1e-12).sqrt()
    return torch.where(known, -distances, -1e9)


ENTRY = Pmr
