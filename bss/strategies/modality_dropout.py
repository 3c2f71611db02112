"""Modality dropout (ModDrop: Neverova et al., TPAMI 2016): a control."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bss.balance.checks import require
from bss.lazy_torch import torch
from bss.strategies.base import Context, Draw, Mixed, Seen, Setting, Strategy


@dataclass(frozen=True)
class ModalityDropout(Strategy):
    """The fusion head sees samples with one modality's features set to zero; the unimodal heads see all."""

    kind: Literal["modality-dropout"] = "modality-dropout"
    steady = True
    rate: float = 0.2
    """Probability that a sample loses a modality, which is drawn uniformly, in [0, 1]."""

    def __post_init__(self) -> None:
        """Check the range."""
        require(0 <= self.rate <= 1, "rate", self.rate, "in [0, 1]")

    def check(self, setting: Setting) -> None:
        """Require a fusion whose statistics zeroed features do not upset."""
        wanted = "another than channel-exchange, whose batch normalisation would count the zeros"
        require(setting.fusion != "channel-exchange", "network.fusion.kind", setting.fusion, wanted)

    def mix(self, context: Context, seen: Seen, draw: Draw) -> Mixed | None:
        """Return the features with zeros."""
        if self.rate == 0:
            return None
        place = draw.uniform("modality dropout") * len(seen.features) / self.rate
        features = {
            name: torch.where((place.floor() == number)[:, None], torch.zeros_like(x), x)
            for number, (name, x) in enumerate(seen.features.items())
        }
        return Mixed(features, heads=False)


ENTRY = ModalityDropout
