"""Modality dropout (ModDrop: Neverova et al., TPAMI 2016): a control."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from bss.balance.checks import require
from bss.lazy_torch import torch
from bss.strategies.absent import Absent, running_means, start_means
from bss.strategies.base import Strategy
from bss.strategies.draw import Draw
from bss.strategies.hooks import Context, Group, Mixed, Seen, Setting, State
from bss.strategies.keeping import check_hiding


@dataclass(frozen=True)
class ModalityDropout(Strategy):
    """The fusion head sees samples without one modality's features; the unimodal heads see all."""

    kind: Literal["modality-dropout"] = "modality-dropout"
    steady = True
    rate: float = 0.2
    """Probability that a sample loses a modality, which is drawn uniformly, in [0, 1]."""

    absent: Absent = "zero"
    """What takes the place of the features: zero, or the mean of the modality's features over the last parts of
    batches, for encoders whose features are signed (BERT, ViT)."""

    def __post_init__(self) -> None:
        """Check the range."""
        require(0 <= self.rate <= 1, "rate", self.rate, "in [0, 1]")

    def check(self, setting: Setting) -> None:
        """Require a fusion whose statistics zeroed features do not upset."""
        check_hiding(setting)

    def start(self, setting: Setting, modules: Mapping[Group, torch.nn.Module], classes: int) -> State:
        """Return the running means, if they are used."""
        return start_means(self.absent, setting, modules)

    def mix(self, context: Context, seen: Seen, draw: Draw) -> Mixed | None:
        """Return the features that are left."""
        if self.rate == 0:
            return None
        place = draw.uniform("modality dropout") * len(seen.features) / self.rate
        instead = {name: torch.zeros_like(x[:1]) for name, x in seen.features.items()}
        if self.absent == "mean":
            every = torch.ones_like(place, dtype=torch.bool)
            instead = running_means(context, seen, dict.fromkeys(seen.features, every))
        features = {
            name: torch.where((place.floor() == number)[:, None], instead[name], x)
            for number, (name, x) in enumerate(seen.features.items())
        }
        return Mixed(features, heads=False)


ENTRY = ModalityDropout
