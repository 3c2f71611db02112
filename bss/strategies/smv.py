"""SMV (Wei et al., Enhancing Multimodal Cooperation via Sample-level Modality Valuation, CVPR 2024)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from bss.balance.checks import require
from bss.balance.sorting import Floats, Indices
from bss.lazy_torch import torch
from bss.strategies.absent import Absent, known_means, means_for_hidden, start_means
from bss.strategies.base import Method
from bss.strategies.draw import Draw
from bss.strategies.hooks import Arranged, Context, Group, Mixed, Objective, Onset, Seen, Setting, State
from bss.strategies.keeping import check_hiding, kept_loss, with_copies
from bss.strategies.shares import sample_contributions

SHARE_JUDGED = 0.2
"""Share of the samples whose mean contributions decide at the level of modalities; drawn with replacement."""


@dataclass(frozen=True)
class Smv(Method):
    """Samples to which a modality contributes little are shown again with that modality alone.

    A modality contributes its Shapley share of a game in which some modalities, the features of the others being zero,
    win their number if the fused prediction is right, else nothing. Copies add steps, which are counted.
    """

    kind: Literal["smv"] = "smv"
    control = "modality-dropout"
    steady = True
    level: Literal["sample", "modality"] = "sample"
    """sample: 1 to 3 copies of each sample, by its own contributions; modality: of drawn samples, as many as the mean
    contribution of the modality lies below the greatest."""
    warm_up: int = 5
    """Epochs without copies, at least 0."""
    alpha: float = 1.0
    """At the level of modalities: factor of the number of copies, at least 0."""
    keep_length: bool = False
    """True shows no more samples than the schedule does, with copies in place of its last ones."""

    absent: Absent = "zero"
    """What the fusion head takes for the features that a copy does not show, or that a part of the game lacks: zero, or
    the mean of the modality's features over the last parts of batches, for encoders whose features are signed (BERT,
    ViT)."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(self.warm_up >= 0, "warm_up", self.warm_up, "at least 0")
        require(self.alpha >= 0, "alpha", self.alpha, "at least 0")

    def check(self, setting: Setting) -> None:
        """Require few modalities, whose parts are all tried, and a fusion that zeroed features do not upset."""
        check_hiding(setting)
        require(len(setting.modalities) <= 5, "network.encoders", len(setting.modalities), "5 or fewer for smv")

    def onset(self, setting: Setting) -> Onset:
        """After the warm-up."""
        return Onset(self.warm_up, "warm_up")

    def start(self, setting: Setting, modules: Mapping[Group, torch.nn.Module], classes: int) -> State:
        """Return the running means, if they are used."""
        return start_means(self.absent, setting, modules)

    def measures(self, context: Context) -> bool:
        """Before each epoch after the warm-up."""
        return context.epoch >= self.warm_up

    def measure(self, context: Context, seen: Seen) -> torch.Tensor:
        """Return the contributions, [batch, M]."""
        return sample_contributions(seen, None if self.absent == "zero" else known_means(context))

    def arrange(
        self, context: Context, sequence: Indices, measured: Floats | None, random: np.random.Generator
    ) -> Arranged | None:
        """Add the copies; only samples that the schedule shows are copied."""
        if measured is None:
            return None
        shown = np.unique(sequence)
        chosen = []
        if self.level == "sample":
            chosen = [np.repeat(shown, column) for column in copies(measured[shown]).T]
        else:
            judged = random.choice(shown, max(1, round(SHARE_JUDGED * len(shown))))
            means = measured[judged].mean(axis=0)
            numbers = np.rint(len(shown) * self.alpha * (means.max() - means) * 2 / 3).astype(int)
            chosen = [random.choice(shown, number) for number in numbers]
        kept = np.repeat(np.arange(len(chosen)), [len(positions) for positions in chosen])
        arranged = with_copies(sequence, np.concatenate(chosen), kept, random)
        if not self.keep_length:
            return arranged
        return Arranged(arranged.positions[: len(sequence)], arranged.kept[: len(sequence)])

    def mix(self, context: Context, seen: Seen, draw: Draw) -> Mixed | None:
        """Return the features with means in the place of those that are not shown, if that is asked for."""
        return None if self.absent == "zero" else means_for_hidden(context, seen)

    def objectives(self, context: Context, seen: Seen) -> list[Objective]:
        """Return the loss, for a copy of what it shows."""
        return [Objective(kept_loss(seen, context.weights))]


def copies(contributions: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Return how many copies show one modality alone, by its contribution to the sample, both [n, M]."""
    found = np.select([contributions > 1 - 1e-9, contributions > 0.4, contributions > -0.1], [0, 1, 2], 3)
    return found.astype(np.int64)


ENTRY = Smv
