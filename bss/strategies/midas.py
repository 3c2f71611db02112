"""MIDAS (Misalignment-based Data Augmentation Strategy, NeurIPS 2025)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from bss.balance.checks import require
from bss.lazy_torch import torch
from bss.strategies.base import Method
from bss.strategies.hooks import Context, EpochPlan, Facts, Group, Objective, Onset, Seen, Setting, State, Weights
from bss.strategies.losses import weighted_loss


@dataclass(frozen=True)
class Midas(Method):
    """The fusion head also learns from features of different samples put together, by how sure each modality is.

    A sample's features are put together with those of one of another class, in all rotations; more than two modalities
    take those left from any samples. The targets weigh each label by its modality's confidence. The weaker modality's
    part of the loss grows while the fused prediction neglects it.
    """

    kind: Literal["midas"] = "midas"
    needs_heads = True
    control = "mixup"
    steady = True
    strength: float = 1.0
    """Weight of the loss of misaligned features, at least 0; the authors take 5 on Kinetics-Sounds."""
    rate: float = 0.05
    """Growth of the weaker modality's weight per step, at least 0."""
    hardness: Literal["clamp", "paper", "off"] = "clamp"
    """Weight of a row: the cosine of the features put in and those replaced; clamp: at least 0, paper: as it is."""
    warm_up: float = 0.1
    """Share of the epochs in which the unimodal losses are trained alone, in [0, 1]; the paper leaves it open."""

    published: ClassVar = (1.0, 1.0)

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(self.strength >= 0, "strength", self.strength, "at least 0")
        require(self.rate >= 0, "rate", self.rate, "at least 0")
        require(0 <= self.warm_up <= 1, "warm_up", self.warm_up, "in [0, 1]")

    def check(self, setting: Setting) -> None:
        """Require one rank: what is put together lies on one, so it would depend on their number."""
        wanted = "1 (nodes x processes) for the strategy midas, which puts samples of one process together"
        require(setting.ranks == 1, "train.processes", setting.ranks, wanted)

    def onset(self, setting: Setting) -> Onset:
        """After the warm-up."""
        if self.warm_up == 1:
            return Onset(math.inf, "warm_up")
        return Onset(math.ceil(self.warm_up * setting.epochs), "warm_up")

    def start(self, setting: Setting, modules: Mapping[Group, torch.nn.Module], classes: int) -> State:
        """Return the weaker modality's weight."""
        return {"weak": torch.ones(())}

    def plan(self, context: Context, facts: Mapping[str, Facts], modules: Mapping[Group, torch.nn.Module]) -> EpochPlan:
        """Reset the weight; in the warm-up train the heads alone."""
        context.state["weak"] = torch.ones_like(context.state["weak"])
        if context.epoch >= self.warm_up * context.setting.epochs:
            return EpochPlan()
        return EpochPlan(Weights(None, self.weights(context.setting).unimodal))

    def objectives(self, context: Context, seen: Seen) -> list[Objective]:
        """Return the loss with that of the misaligned features."""
        loss = weighted_loss(seen, context.weights)
        if self.strength and context.weights.fused is not None:
            assert context.draw is not None
            sources = draw_sources(seen, context.draw.uniform("sources", len(seen.labels), len(seen.features) - 1))
            loss = loss + self.strength * self.misaligned(context, seen, sources)
        return [Objective(loss)]

    def misaligned(self, context: Context, seen: Seen, sources: torch.Tensor) -> torch.Tensor:
        """Return the mean loss of the rows made for each sample, [batch].

        `sources` int64 [M, batch] are the samples put together for each, itself first. In rotation r modality m
        takes its features from source (m + r) mod M.
        """
        names, count = list(seen.features), len(seen.features)
        differs = (seen.labels[:, None] != seen.labels).any(dim=1)
        own = torch.stack(
            [z.detach().softmax(dim=1).gather(1, seen.labels[:, None])[:, 0] for z in seen.logits.values()]
        )
        of_weak = (torch.arange(count, device=own.device) == own.mean(dim=1).argmin())[:, None].to(own.dtype)  # [M, 1]
        rows = []
        for shift in range(count):
            taken = sources.roll(-shift, dims=0)  # [M, batch]
            features = {name: x[taken[number]] for number, (name, x) in enumerate(seen.features.items())}
            labels = seen.labels[taken]
            shares = normalised(own.gather(1, taken))
            logs = seen.fuse(features).log_softmax(dim=1).gather(1, labels.T).T  # [M, batch]
            rows.append((shares, logs, self._hardness(seen, features, names[(count - shift) % count]) * differs))
        behind = [(of_weak * (shares - normalised(logs.detach().exp()))).sum(dim=0) for shares, logs, _ in rows]
        rate = self.rate * (torch.stack(behind) * differs).sum() / (count * differs.sum()).clamp_min(1)
        context.state["weak"] = (context.state["weak"] + rate).clamp_min(1)
        weights = 1 + (context.state["weak"] - 1) * of_weak
        return torch.stack([-hard * (weights * shares * logs).sum(dim=0) for shares, logs, hard in rows]).mean(dim=0)

    def _hardness(self, seen: Seen, features: Mapping[str, torch.Tensor], kept: str) -> torch.Tensor:
        """Return the weight of rows whose features of modality `kept` are the sample's own, [batch]."""
        if self.hardness == "off":
            return torch.ones_like(seen.labels, dtype=torch.float32)
        others = [(x, seen.features[name]) for name, x in features.items() if name != kept]
        cosine = (
            torch.stack([torch.nn.functional.cosine_similarity(x, y, dim=1) for x, y in others]).mean(dim=0).detach()
        )
        return cosine.clamp_min(0) if self.hardness == "clamp" else cosine


def normalised(shares: torch.Tensor) -> torch.Tensor:
    """Return `shares` [M, batch] over their sum over the modalities."""
    return shares / shares.sum(dim=0).clamp_min(torch.finfo(shares.dtype).tiny)


def draw_sources(seen: Seen, drawn: torch.Tensor) -> torch.Tensor:
    """Return the samples that are put together for each sample, int64 [M, batch], from `drawn` [batch, batch, M - 1].

    The sample itself, then one of another class, then any.
    """
    other = seen.labels[:, None] != seen.labels
    itself = torch.arange(len(seen.labels), device=seen.labels.device)
    first = torch.where(other, drawn[:, :, 0], -1.0).argmax(dim=1)
    return torch.stack([itself, first, *drawn[:, :, 1:].argmax(dim=1).T])


ENTRY = Midas
