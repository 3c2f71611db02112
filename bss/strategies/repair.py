"""Repair: what makes a pair of train wrong is hidden while training, by the posterior of the audit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from bss.balance.checks import require
from bss.balance.sorting import Floats, Indices
from bss.lazy_torch import torch
from bss.strategies.base import Strategy
from bss.strategies.draw import Draw
from bss.strategies.hooks import ALL, Arranged, Context, Group, Hidden, Mixed, Objective, Onset, Seen, Setting, State
from bss.strategies.keeping import check_hiding, shown_loss

if TYPE_CHECKING:
    from bss.balance.auditing import Audit

LEAST = 0.5
"""Nothing is hidden of a sample that is as likely clean."""
MOST_OF_A_CLASS = 0.5
"""If more of a class looks wrong, by one explanation, that is not what is wrong: the network has yet to learn it."""


LEAST_SKILL = 0.25
"""A modality is a witness if its head is right in this share of what guessing the most frequent class leaves."""


@dataclass(frozen=True)
class Repair(Strategy):
    """Training leaves out what makes a sample wrong: the modality to blame, or all of it where the label is to blame.

    A hidden modality gives the fusion nothing, and its head no loss. The posterior over explanations comes from what
    the heads say of the samples, smoothed over the epochs. An explanation counts if the 95 % interval of its estimated
    share begins at one sample or more, so that little is hidden of clean data, and nothing where a modality is near
    chance. Memory: 12 bytes per sample, modality and class.
    """

    kind: Literal["repair"] = "repair"
    needs_heads = True
    control = "weights.label_smoothing=0.1"
    how: Literal["hide", "replace"] = "hide"
    """hide; or replace: the fusion gets the modality from another sample of the class in the same part of a batch, of
    which nothing is hidden, if there is one."""
    measuring: Literal["online", "full"] = "online"
    """online: by what the last epoch saw before each update, which costs no pass; full: by a pass over train before
    each epoch, in eval mode."""
    warm_up: int = 2
    """Epochs that hide nothing, at least 1; what the heads say before the last of them does not count."""
    smoothing: float = 0.6
    """Weight of earlier epochs against the last one, in [0, 1)."""

    placed = True

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(self.warm_up >= 1, "warm_up", self.warm_up, "at least 1")
        require(0 <= self.smoothing < 1, "smoothing", self.smoothing, "in [0, 1)")

    def check(self, setting: Setting) -> None:
        """Require two modalities, a fusion that zeroed features do not upset; for replace one rank."""
        check_hiding(setting)
        require(len(setting.modalities) >= 2, "network.encoders", len(setting.modalities), "2 or more for repair")
        wanted = "1 (nodes x processes) for how: replace, which takes from samples of the same process"
        require(self.how == "hide" or setting.ranks == 1, "train.processes", setting.ranks, wanted)

    def onset(self, setting: Setting) -> Onset:
        """After the warm-up."""
        return Onset(self.warm_up, "warm_up")

    def start(self, setting: Setting, modules: Mapping[Group, torch.nn.Module], classes: int) -> State:
        """Return that nothing is hidden."""
        return {"acts": False}

    def observes(self, setting: Setting, classes: int) -> int:
        """Observe the log probabilities of all heads."""
        return len(setting.modalities) * classes if self.measuring == "online" else 0

    def phase(self, context: Context) -> Any:
        """Return whether anything is hidden."""
        return context.state["acts"]

    def measures(self, context: Context) -> bool:
        """Where a pass is asked for, and its result counts."""
        return self.measuring == "full" and context.epoch >= self.warm_up

    def measure(self, context: Context, seen: Seen) -> torch.Tensor:
        """Return the log probabilities, [batch, M * classes]."""
        return torch.cat([logits.log_softmax(dim=1) for logits in seen.logits.values()], dim=1)

    def arrange(
        self, context: Context, sequence: Indices, measured: Floats | None, random: np.random.Generator
    ) -> Arranged | None:
        """Judge the samples; the schedule's sequence stays."""
        if measured is None or context.epoch < self.warm_up:
            return None
        state = context.state
        known, said = _smoothed(state, measured, self.smoothing)
        names, labels = context.setting.modalities, context.labels
        rows = np.flatnonzero(known)
        modality, probability = np.full(len(known), NOTHING), np.zeros(len(known))
        if len(rows):
            modality[rows], probability[rows] = judge(said[rows].reshape(len(rows), len(names), -1), labels[rows])
        state["modality"], state["probability"] = torch.from_numpy(modality), torch.from_numpy(probability)
        state["acts"] = bool((modality != NOTHING).any())
        return None

    def hides(self, context: Context) -> Hidden:
        """Return what was judged."""
        if not context.state["acts"]:
            return Hidden(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), np.empty(0))
        modality, probability = (context.state[key].cpu().numpy() for key in ("modality", "probability"))
        positions = np.flatnonzero(modality != NOTHING)
        return Hidden(positions, modality[positions], probability[positions])

    def mix(self, context: Context, seen: Seen, draw: Draw) -> Mixed | None:
        """Return the features without those that are hidden."""
        if not context.state["acts"]:
            return None
        modality = context.state["modality"][seen.positions]
        whole = modality == NOTHING
        if seen.ignored is not None:
            whole = whole & ~seen.ignored.any(dim=1)
        features = {}
        for number, (name, x) in enumerate(seen.features.items()):
            gone = modality == number
            instead = self._donated(x, whole, seen.labels) if self.how == "replace" else torch.zeros_like(x)
            features[name] = torch.where(gone[:, None], instead, x)
        return Mixed(features, heads=False)

    def objectives(self, context: Context, seen: Seen) -> list[Objective]:
        """Return the loss of what is not hidden."""
        if not context.state["acts"]:
            return super().objectives(context, seen)
        modality = context.state["modality"][seen.positions]
        numbers = torch.arange(len(seen.logits), device=modality.device)
        loss = shown_loss(seen, context.weights, modality[:, None] != numbers)
        return [Objective(torch.where(modality == ALL, torch.zeros_like(loss), loss))]

    def _donated(self, x: torch.Tensor, whole: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return for each sample features [batch, width] of the next `whole` one of its class, zeros if none is."""
        whole = (labels[:, None] == labels) & whole
        place = torch.arange(len(labels), device=x.device)
        distance = (place - place[:, None]) % len(labels)
        nearest = torch.where(whole, distance, len(labels)).argmin(dim=1)
        return torch.where(whole.any(dim=1)[:, None], x[nearest], torch.zeros_like(x))


NOTHING = -2
"""Stands for what is hidden of a sample that stays whole, as `ALL` does for one without any loss."""


def judge(
    said: npt.NDArray[np.float64], labels: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Return what to hide of each of n samples, and the probability that this is what is wrong, [n] each.

    That is the number of a modality, `ALL` where the label is to blame, or `NOTHING`. `said` [n, M, classes] are log
    probabilities, `labels` [n]. Modalities near chance are no witnesses; with fewer than two witnesses nothing is
    hidden, because a wrong modality and a wrong label then look the same.
    """
    from bss.balance.auditing import audit  # here, because it imports torch

    modality, probability = np.full(len(labels), NOTHING), np.zeros(len(labels))
    chance = np.bincount(labels).max() / len(labels)
    right = (said.argmax(axis=2) == labels[:, None]).mean(axis=0)
    witnesses = np.flatnonzero(right - chance > LEAST_SKILL * (1 - chance))
    if len(witnesses) < 2:
        return modality, probability
    found = audit({str(number): said[:, number] for number in witnesses}, labels)
    best = found.posterior.argmax(axis=1)
    for column, explanation in enumerate(found.explanations):
        if explanation.kind == "clean":
            continue
        rows = np.flatnonzero((best == column) & (found.posterior[:, column] > LEAST))
        rows = _plausible(found, column, rows, labels)
        modality[rows] = ALL if explanation.modality is None else int(explanation.modality)
        probability[rows] = found.posterior[rows, column]
    return modality, probability


def _plausible(
    found: Audit, column: int, rows: npt.NDArray[np.int64], labels: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Return `rows` that have an explanation, none if its share is not clear of 0, without classes that it fills."""
    from bss.balance.auditing import share

    n = len(labels)
    if n * share(n * float(found.shares[column]), n)["low"] < 1:
        return rows[:0]
    classes = int(labels.max()) + 1
    crowded = np.bincount(labels[rows], minlength=classes) > MOST_OF_A_CLASS * np.bincount(labels, minlength=classes)
    return rows[~crowded[labels[rows]]]


def _smoothed(
    state: State, measured: npt.NDArray[np.float64], smoothing: float
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float64]]:
    """Put `measured` [n, k] into the smoothed values, in place; return which samples have some, [n], and them."""
    seen = ~np.isnan(measured[:, 0])
    if "said" not in state:
        state["said"], state["known"] = torch.zeros(measured.shape), torch.zeros(len(measured), dtype=torch.bool)
    said, known = state["said"].cpu().double().numpy(), state["known"].cpu().numpy().copy()
    old = known & seen
    said[old] = smoothing * said[old] + (1 - smoothing) * measured[old]
    new = seen & ~known
    said[new] = measured[new]
    known |= seen
    state["said"], state["known"] = torch.from_numpy(said).float(), torch.from_numpy(known)
    return known, said


ENTRY = Repair
