"""Data Remixing (Ma et al., Improving Multimodal Learning Balance and Sufficiency through Data Remixing, ICML 2025)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt

from bss.balance.checks import require
from bss.balance.sorting import Floats, Indices
from bss.lazy_torch import torch
from bss.strategies.absent import Absent, means_for_hidden, start_means
from bss.strategies.base import Method
from bss.strategies.draw import Draw
from bss.strategies.hooks import (
    Arranged,
    Context,
    EpochPlan,
    Facts,
    Group,
    Mixed,
    Objective,
    Onset,
    Seen,
    Setting,
    State,
    Weights,
)
from bss.strategies.keeping import check_hiding, kept_loss


@dataclass(frozen=True)
class Remix(Method):
    """After a warm-up each sample is trained with one modality only: the one whose head is least sure of it.

    Batches are of one modality each, and no other encoder is run on them, so an epoch costs little more than training
    each sample's one encoder, and a pass over train. Scores are no longer observed.
    """

    kind: Literal["remix"] = "remix"
    needs_heads = True
    control = "modality-dropout"
    steady = True
    warm_up: int = 10
    """Epochs in which all modalities are trained, at least 0; the authors take 10 of 60."""
    batches: Literal["interleaved", "blocks"] = "interleaved"
    """interleaved: a batch comes where the schedule fills it; blocks: one modality after the other, as in public code.
    Either way the samples of a modality keep the schedule's order."""

    absent: Absent = "zero"
    """What the fusion head takes for the features that a sample does not show: zero, or the mean of the modality's
    features over the last parts of batches that show it, for encoders whose features are signed (BERT, ViT)."""

    published: ClassVar = (1.0, 0.5)

    def __post_init__(self) -> None:
        """Check the range."""
        require(self.warm_up >= 0, "warm_up", self.warm_up, "at least 0")

    def check(self, setting: Setting) -> None:
        """Require a fusion that zeroed features do not upset."""
        check_hiding(setting)

    def onset(self, setting: Setting) -> Onset:
        """After the warm-up."""
        return Onset(self.warm_up, "warm_up")

    def start(self, setting: Setting, modules: Mapping[Group, torch.nn.Module], classes: int) -> State:
        """Return the running means, if they are used."""
        return start_means(self.absent, setting, modules)

    def plan(self, context: Context, facts: Mapping[str, Facts], modules: Mapping[Group, torch.nn.Module]) -> EpochPlan:
        """Return the weights: the authors' heads weigh twice as much after the warm-up."""
        if self.loss == "product" or context.epoch < self.warm_up:
            return EpochPlan()
        return EpochPlan(Weights(1.0, dict.fromkeys(context.setting.modalities, 1.0)))

    def measures(self, context: Context) -> bool:
        """Before each epoch after the warm-up."""
        return context.epoch >= self.warm_up

    def measure(self, context: Context, seen: Seen) -> torch.Tensor:
        """Return how sure each head is, [batch, M]."""
        return torch.stack([sureness(logits) for logits in seen.logits.values()], dim=1)

    def arrange(
        self, context: Context, sequence: Indices, measured: Floats | None, random: np.random.Generator
    ) -> Arranged | None:
        """Give each sample its modality, and each modality its batches."""
        if measured is None:
            return None
        kept = measured[sequence].argmin(axis=1)
        order = kept.argsort(kind="stable") if self.batches == "blocks" else filled(kept, context.setting.batch_size)
        return Arranged(sequence[order], kept[order])

    def mix(self, context: Context, seen: Seen, draw: Draw) -> Mixed | None:
        """Return the features with means in the place of those that are not shown, if that is asked for."""
        return None if self.absent == "zero" else means_for_hidden(context, seen)

    def objectives(self, context: Context, seen: Seen) -> list[Objective]:
        """Return the loss of what the samples show."""
        return [Objective(kept_loss(seen, context.weights))]


def sureness(logits: torch.Tensor) -> torch.Tensor:
    """Return the divergence of the prediction from the uniform one in bits, [batch]."""
    logs = logits.log_softmax(dim=1)
    return ((logs.exp() * logs).sum(dim=1) + math.log(logits.shape[1])) / math.log(2)


def filled(kept: npt.NDArray[np.int64], size: int) -> npt.NDArray[np.int64]:
    """Return an order of the samples in which batches of `size` have one modality, `kept` [n], each.

    A batch comes when the samples so far fill it; those that fill none come last, in their order.
    """
    batches: list[npt.NDArray[np.int64]] = []
    left = []
    for number in np.unique(kept):
        rows = np.flatnonzero(kept == number)
        whole = len(rows) // size * size
        batches += list(rows[:whole].reshape(-1, size))
        left.append(rows[whole:])
    batches.sort(key=lambda rows: int(rows[-1]))
    return np.concatenate([*batches, np.sort(np.concatenate(left))])


ENTRY = Remix
