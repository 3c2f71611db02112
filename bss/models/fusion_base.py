"""What every fusion is, and what it is built from."""

from collections.abc import Collection, Mapping

from torch import Tensor, nn

from bss.models.encoders.base import Encoder

Features = Mapping[str, Tensor]
"""Float [batch, width] per modality, after ReLU if they come from a linear layer."""

Encoders = Mapping[str, Encoder]
"""Encoders by modality; two or more."""


class Fusion(nn.Module):
    """Maps features of two or more modalities to logits float [batch, classes], computed by `head`."""

    head: nn.Linear

    def penalty(self) -> Tensor | None:
        """Return a scalar that training adds to the batch's mean loss, or None."""
        return None

    def restricted_to(self, names: Collection[str]) -> "Fusion | None":
        """Return this fusion, sharing its parameters, for the modalities `names`; None if it needs all."""
        return None


def widths_of(encoders: Encoders) -> dict[str, int]:
    """Return the length of each modality's features."""
    return {name: encoder.width for name, encoder in encoders.items()}
