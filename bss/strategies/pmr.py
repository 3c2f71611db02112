"""PMR (Fan et al., Prototypical Modal Rebalance for Multimodal Learning, CVPR 2023)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from bss.balance.checks import require
from bss.lazy_torch import torch
from bss.strategies.base import Method
from bss.strategies.draw import Draw
from bss.strategies.hooks import (
    Context,
    EpochPlan,
    Facts,
    Gradients,
    Group,
    Objective,
    Onset,
    Seen,
    Setting,
    Split,
    State,
)
from bss.strategies.losses import one_hot, weighted_loss
from bss.strategies.scaling import check_window, inside, onset_in


@dataclass(frozen=True)
class Pmr(Method):
    """A modality whose features are further from their class prototypes than the best one's is drawn to them.

    Prototypes are means of the features of each class, smoothed from epoch to epoch. The ratio of the modalities is
    that of each part of a batch, over all ranks.
    """

    kind: Literal["pmr"] = "pmr"
    control = "weights.unimodal=4.0"
    alpha: float = 1.0
    """Strength, at least 0."""
    factor: Literal["gap", "full"] = "gap"
    """How much of that a modality behind gets: gap, by how far its score is behind the best one's, cut to [0, 1]
    (paper); full, all of it, however close it is (public code)."""
    momentum: float = 0.2
    """Weight of the old prototypes against those of the last epoch, in [0, 1)."""
    window: tuple[float, float] = (0.0, 0.67)
    """The part of the epochs in which it acts; the first has no prototypes if they are `online`."""
    prototypes: Literal["online", "pass"] = "online"
    """online: of the features of the training passes of the last epoch; pass: of those in eval mode without
    augmentation, by an evaluation of train before each epoch."""
    share: float = 1.0
    """Share of train that the pass reads, drawn before each epoch, in (0, 1]; public code has a tenth. A class that is
    not in it keeps its prototypes."""
    entropy: float = 0.0
    """Strength of the paper's entropy term, at least 0: the best modality's distribution over the prototypes is drawn
    to uniform, as far as the last one is behind."""
    entropy_window: tuple[float, float] = (0.0, 0.2)
    """The part of the epochs in which the entropy term acts, inside `window`; the paper says: early."""

    splits: ClassVar[tuple[Split, ...]] = ("train",)

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(self.alpha >= 0, "alpha", self.alpha, "at least 0")
        require(0 <= self.momentum < 1, "momentum", self.momentum, "in [0, 1)")
        require(0 < self.share <= 1, "share", self.share, "in (0, 1]")
        ok = self.share == 1 or self.prototypes == "pass"
        require(ok, "share", self.share, "1 with prototypes: online, which take what the training shows")
        require(self.entropy >= 0, "entropy", self.entropy, "at least 0")
        check_window(self.window)
        check_window(self.entropy_window, "entropy_window")

    @property
    def averaging(self) -> float:
        """How much of train a pass for the prototypes reads, if they come from one."""
        return self.share if self.prototypes == "pass" else 0.0

    def onset(self, setting: Setting) -> Onset:
        """Where the window begins, and there are prototypes."""
        return onset_in(self.window, setting.epochs, 0 if self.averaging else 1)

    def start(self, setting: Setting, modules: Mapping[Group, torch.nn.Module], classes: int) -> State:
        """Return prototypes of zeros, all marked unknown, and sums of the features of this epoch."""
        heads: dict[str, Any] = {name: modules["head", name] for name in setting.modalities}
        zeros = {name: torch.zeros(classes, head.in_features) for name, head in heads.items()}
        sums = {name: x.clone() for name, x in zeros.items()}
        known = torch.zeros(classes, dtype=torch.bool)
        return {"prototypes": zeros, "known": known, "sums": sums, "counts": torch.zeros(classes)}

    def reads(self, context: Context) -> bool:
        """Before each epoch until the window ends, if prototypes come from a pass."""
        return self.averaging > 0 and context.epoch < self.window[1] * context.setting.epochs

    def plan(self, context: Context, facts: Mapping[str, Facts], modules: Mapping[Group, torch.nn.Module]) -> EpochPlan:
        """Move the prototypes to the means of the pass or the last epoch; a class not shown keeps its own."""
        state = context.state
        if facts:
            state["sums"], state["counts"] = dict(facts["train"].sums), facts["train"].counts
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
        """Return whether there are prototypes to compare with, whether features are summed, whether entropy counts."""
        epoch, epochs = context.epoch, context.setting.epochs
        compared = (epoch > 0 or self.averaging > 0) and inside(self.window, epoch, epochs)
        summed = not self.averaging and epoch < self.window[1] * epochs
        return compared, summed, compared and self.entropy > 0 and inside(self.entropy_window, epoch, epochs)

    def objectives(self, context: Context, seen: Seen) -> list[Objective]:
        """Return the loss, with that of the prototypes for the modalities behind."""
        loss = weighted_loss(seen, context.weights)
        compared, _, slowed = self.phase(context)
        if not compared:
            return [Objective(loss)]
        state = context.state
        counted = state["known"][seen.labels].to(loss.dtype)
        close = {name: closeness(x, state["prototypes"][name], state["known"]) for name, x in seen.features.items()}
        losses = {
            name: counted * torch.nn.functional.cross_entropy(x, seen.labels, reduction="none")
            for name, x in close.items()
        }
        scores = context.total(torch.stack([(counted * torch.exp(-x)).sum() for x in losses.values()]))
        behind = (scores.max() / scores.clamp_min(torch.finfo(scores.dtype).tiny) - 1).clamp(0, 1)
        drawn = behind if self.factor == "gap" else (behind > 0).to(behind.dtype)
        for weight, of_prototypes in zip(drawn, losses.values(), strict=True):
            loss = loss + self.alpha * weight * of_prototypes
        if slowed:
            ahead = torch.where(scores == scores.max(), behind.max(), 0.0)
            for weight, logits in zip(ahead, close.values(), strict=True):
                loss = loss - self.entropy * weight * entropy_of(logits)
        return [Objective(loss)]

    def gather(self, context: Context, seen: Seen) -> torch.Tensor | None:
        """Return the sum of the features of each class and modality, and the counts of the classes."""
        _, summed, _ = self.phase(context)
        if not summed:
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


def entropy_of(logits: torch.Tensor) -> torch.Tensor:
    """Return the entropy of the softmax of `logits` [batch, classes] in nats, [batch]."""
    log_p = logits.log_softmax(dim=1)
    return -(log_p.exp() * log_p).sum(dim=1)


ENTRY = Pmr
