"""What OGM and MLB share: a method that compares the modalities' confidence in the labels."""

from __future__ import annotations

from typing import Any, Literal

from bss.lazy_torch import torch
from bss.strategies.hooks import Context, Onset, Seen, Setting
from bss.strategies.scaling import inside, onset_in, warning_of_adam
from bss.strategies.shares import BySource, confidence_sums, logits_of

Direction = Literal["weak", "strong"]
"""Which modality learns more than without the method, relative to the others: the less sure, or the surer one."""


class ByConfidence(BySource):
    """Gathers summed confidences within `window`; the method's own fields are declared where their defaults are."""

    direction: Direction
    window: tuple[float, float]

    def onset(self, setting: Setting) -> Onset:
        """Where the window begins."""
        return onset_in(self.window, setting.epochs)

    def warning(self, setting: Setting) -> str | None:
        """Scaling gradients does next to nothing under Adam."""
        return warning_of_adam(setting)

    def phase(self, context: Context) -> Any:
        """Return whether it gathers."""
        return inside(self.window, context.epoch, context.setting.epochs)

    def gather(self, context: Context, seen: Seen) -> torch.Tensor | None:
        """Return the summed probabilities of the labels."""
        if not self.phase(context):
            return None
        return confidence_sums(logits_of(seen, self.source), seen.labels)
