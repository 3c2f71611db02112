"""OPM (Wei et al., On-the-fly Modulation for Balanced Multimodal Learning, TPAMI 2024), its feature-level half."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from bss.balance.checks import require
from bss.lazy_torch import torch
from bss.strategies.absent import Absent, running_means, start_means
from bss.strategies.base import Strategy
from bss.strategies.draw import Draw
from bss.strategies.hooks import Context, Group, Mixed, Objective, Onset, Seen, Setting, State
from bss.strategies.keeping import check_hiding
from bss.strategies.losses import weighted_loss
from bss.strategies.scaling import check_window, inside, onset_in
from bss.strategies.shares import BySource, Source, confidence_sums, logits_of, mean_of_others


@dataclass(frozen=True)
class Opm(BySource):
    """The fusion head loses features of a modality that is surer of the labels than the others, of drawn samples.

    The unimodal heads see all features. Features that stay are scaled up, those of all modalities by one factor, as
    published.
    """

    kind: Literal["opm"] = "opm"
    weighted = True
    control = "modality-dropout"
    steady = True
    rate: float = 0.5
    """Probability that a sample loses the features of a modality that is barely surer, in [0, 1]."""
    strength: float = 0.5
    """How much that probability grows with the difference, at least 0."""
    execute: float = 0.7
    """Probability that it acts on a part of a batch, in [0, 1]."""
    source: Source = "share"
    """Where confidence is read: the modality's share of the fused logits (paper), or its head."""
    window: tuple[float, float] = (0.06, 1.0)
    """The part of the epochs in which it acts; the authors begin with epoch 6 of 100."""

    absent: Absent = "zero"
    """What takes the place of the features: zero, or the mean of the modality's features over the last parts of
    batches, which is not scaled, for encoders whose features are signed (BERT, ViT)."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(0 <= self.rate <= 1, "rate", self.rate, "in [0, 1]")
        require(self.strength >= 0, "strength", self.strength, "at least 0")
        require(0 <= self.execute <= 1, "execute", self.execute, "in [0, 1]")
        check_window(self.window)

    def check(self, setting: Setting) -> None:
        """Require shares to read confidence from, and a fusion that zeroed features do not upset."""
        super().check(setting)
        check_hiding(setting)

    def onset(self, setting: Setting) -> Onset:
        """Where the window begins."""
        return onset_in(self.window, setting.epochs)

    def start(self, setting: Setting, modules: Mapping[Group, torch.nn.Module], classes: int) -> State:
        """Return the running means, if they are used."""
        return start_means(self.absent, setting, modules)

    def phase(self, context: Context) -> bool:
        """Return whether it acts in the epoch of `context`."""
        return self._acts(context)

    def outcomes(self) -> list[tuple[float, Strategy]]:
        """Return that it acts on a part of a batch, or does not."""
        return [(self.execute, replace(self, execute=1.0)), (1 - self.execute, replace(self, execute=0.0))]

    def mix(self, context: Context, seen: Seen, draw: Draw) -> Mixed | None:
        """Return the features that are left for the fusion head."""
        if not self._acts(context):
            return None
        instead = {name: torch.zeros_like(x[:1]) for name, x in seen.features.items()}
        if self.absent == "mean":
            every = torch.ones_like(seen.labels, dtype=torch.bool)
            instead = running_means(context, seen, dict.fromkeys(seen.features, every))
        if draw.host("execute").random() >= self.execute:
            return None
        with torch.no_grad():
            sums = context.total(confidence_sums(logits_of(seen, self.source), seen.labels))
        rates = self.rates(sums[:-1])
        drawn = draw.uniform("features", len(seen.features))
        factor = survivors_factor(rates, [x.shape[1] for x in seen.features.values()])
        features = {
            name: torch.where((drawn[:, number] < rates[number])[:, None], instead[name], factor * x)
            for number, (name, x) in enumerate(seen.features.items())
        }
        return Mixed(features, heads=False)

    def objectives(self, context: Context, seen: Seen) -> list[Objective]:
        """Return the loss. Samples whose features are all dropped get no fused loss.

        With `absent: mean` no sample loses all features: the least sure modality is never drawn.
        """
        loss = weighted_loss(seen, context.weights)
        if not self._acts(context) or context.weights.fused is None or self.absent == "mean":
            return [Objective(loss)]
        left = torch.stack([(x != 0).any(dim=1) for x in seen.features.values()]).any(dim=0)
        fused = weighted_loss(seen, replace(context.weights, unimodal={}))
        return [Objective(loss - torch.where(left, torch.zeros_like(fused), fused))]

    def rates(self, confidence: torch.Tensor) -> torch.Tensor:
        """Return the probability that a sample loses a modality, [M], from their (summed) confidences [M]."""
        others = mean_of_others(confidence).clamp_min(torch.finfo(confidence.dtype).tiny)
        ahead = torch.tanh((confidence / others - 1).relu())
        return torch.where(ahead > 0, self.rate * (1 + self.strength * ahead), 0.0).clamp(0, 1)

    def _acts(self, context: Context) -> bool:
        return self.rate > 0 and self.execute > 0 and inside(self.window, context.epoch, context.setting.epochs)


def survivors_factor(rates: torch.Tensor, widths: list[int]) -> torch.Tensor:
    """Return the factor of the features that stay, 0-dimensional: 1 over the mean share of them that stays."""
    lost = torch.stack([width * rate for width, rate in zip(widths, rates, strict=True)]).sum() / sum(widths)
    return 1 / (1 - lost).clamp_min(1e-3)


ENTRY = Opm
