"""Fusion: maps the features of all modalities to the logits of one head; docs/networks.md has the formulas."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bss.config.fusion import (
    AnyFusion,
    ChannelExchange,
    Concatenation,
    Cosine,
    CrossAttention,
    Film,
    Gated,
    MlLstm,
    Sum,
    WeightedSum,
)
from bss.errors import BssError
from bss.models.cosine_fusion import CosineFusion
from bss.models.fusion_base import Encoders, Features, Fusion, widths_of
from bss.models.shallow_copy import shallow_copy


class ConcatenationFusion(Fusion):
    """A linear layer on the concatenated features."""

    def __init__(self, config: Concatenation, encoders: Encoders, classes: int) -> None:
        super().__init__()
        widths = widths_of(encoders)
        self.head = nn.Linear(sum(widths.values()), classes)

    def forward(self, features: Features) -> Tensor:
        logits: Tensor = self.head(torch.cat(list(features.values()), dim=1))
        return logits


class SameWidth(nn.Module):
    """Projects features to the largest width, with a linear layer for each narrower modality.

    Returns float [batch, modalities, width].
    """

    def __init__(self, widths: Mapping[str, int]) -> None:
        super().__init__()
        self.width = max(widths.values())
        self.layers = nn.ModuleDict(
            {n: nn.Identity() if width == self.width else nn.Linear(width, self.width) for n, width in widths.items()}
        )

    def forward(self, features: Features) -> Tensor:
        return torch.stack([layer(features[name]) for name, layer in self.layers.items()], dim=1)

    def restricted_to(self, names: Collection[str]) -> "SameWidth":
        """Return this projection for the modalities `names`."""
        copied = shallow_copy(self)
        copied.layers = nn.ModuleDict({name: layer for name, layer in self.layers.items() if name in names})
        return copied


class SameWidthFusion(Fusion):
    """A fusion that first brings all features to one width."""

    def __init__(self, encoders: Encoders) -> None:
        super().__init__()
        self.same_width = SameWidth(widths_of(encoders))


class SumFusion(SameWidthFusion):
    """A linear layer on the sum of the features."""

    def __init__(self, config: Sum | WeightedSum, encoders: Encoders, classes: int) -> None:
        super().__init__(encoders)
        self.head = nn.Linear(self.same_width.width, classes)

    def forward(self, features: Features) -> Tensor:
        logits: Tensor = self.head(self.same_width(features).sum(dim=1))
        return logits

    def restricted_to(self, names: Collection[str]) -> "SumFusion":
        """Return the sum over `names` only: a missing modality adds nothing."""
        copied = shallow_copy(self)
        copied.same_width = self.same_width.restricted_to(names)
        return copied


class WeightedSumFusion(SumFusion):
    """The same with one learned weight per modality; they start equal and always sum to 1."""

    def __init__(self, config: WeightedSum, encoders: Encoders, classes: int) -> None:
        super().__init__(config, encoders, classes)
        self.weights = nn.Parameter(torch.zeros(len(encoders)))

    def forward(self, features: Features) -> Tensor:
        weights = self.weights.softmax(dim=0)[:, None]
        logits: Tensor = self.head((weights * self.same_width(features)).sum(dim=1))
        return logits

    def restricted_to(self, names: Collection[str]) -> "WeightedSumFusion":
        """Return the weighted sum over `names` only; their weights keep their proportions and sum to 1."""
        copied = shallow_copy(self)
        copied.same_width = self.same_width.restricted_to(names)
        kept = [i for i, name in enumerate(self.same_width.layers) if name in names]
        copied.weights = nn.Parameter(self.weights.detach()[kept])
        return copied


class FilmFusion(Fusion):
    """A linear layer on the others' features, each scaled and shifted by the conditioner's features."""

    def __init__(self, config: Film, encoders: Encoders, classes: int) -> None:
        super().__init__()
        widths = widths_of(encoders)
        self.conditioner = next(iter(widths)) if config.conditioner is None else config.conditioner
        others = {name: width for name, width in widths.items() if name != self.conditioner}
        self.affine = nn.ModuleDict({n: nn.Linear(widths[self.conditioner], 2 * width) for n, width in others.items()})
        self.head = nn.Linear(sum(others.values()), classes)

    def forward(self, features: Features) -> Tensor:
        parts = []
        for name, affine in self.affine.items():
            scale, shift = affine(features[self.conditioner]).chunk(2, dim=1)
            parts.append(scale * features[name] + shift)
        logits: Tensor = self.head(torch.cat(parts, dim=1))
        return logits


class GatedFusion(Fusion):
    """A linear layer on the gated sum of the modalities' hidden vectors; each gate sees all features."""

    def __init__(self, config: Gated, encoders: Encoders, classes: int) -> None:
        super().__init__()
        widths = widths_of(encoders)
        width = max(widths.values())
        self.hidden = nn.ModuleDict({name: nn.Linear(own, width) for name, own in widths.items()})
        self.gates = nn.ModuleDict({name: nn.Linear(sum(widths.values()), width) for name in widths})
        self.head = nn.Linear(width, classes)

    def forward(self, features: Features) -> Tensor:
        together = torch.cat(list(features.values()), dim=1)
        parts = [self.gates[n](together).sigmoid() * hidden(features[n]).tanh() for n, hidden in self.hidden.items()]
        logits: Tensor = self.head(torch.stack(parts).sum(dim=0))
        return logits


class LstmLayer(nn.LSTMCell):
    """An LSTM over a short sequence of float [batch, size], from operations with per-sample gradients."""

    def forward(self, sequence: Sequence[Tensor]) -> list[Tensor]:  # type: ignore[override]
        hidden = cell = sequence[0].new_zeros(len(sequence[0]), self.hidden_size)
        outputs = []
        for inputs in sequence:
            gates = F.linear(inputs, self.weight_ih, self.bias_ih) + F.linear(hidden, self.weight_hh, self.bias_hh)
            enter, keep, new, leave = gates.chunk(4, dim=1)
            cell = keep.sigmoid() * cell + enter.sigmoid() * new.tanh()
            hidden = leave.sigmoid() * cell.tanh()
            outputs.append(hidden)
        return outputs


class MlLstmFusion(SameWidthFusion):
    """A linear layer on the top state of an LSTM that has read the modalities in order."""

    def __init__(self, config: MlLstm, encoders: Encoders, classes: int) -> None:
        super().__init__(encoders)
        sizes = [self.same_width.width] + [config.hidden] * (config.layers - 1)
        self.layers = nn.ModuleList([LstmLayer(size, config.hidden) for size in sizes])
        self.head = nn.Linear(config.hidden, classes)

    def forward(self, features: Features) -> Tensor:
        sequence = self.same_width(features).unbind(dim=1)
        for layer in self.layers:
            sequence = layer(sequence)
        logits: Tensor = self.head(sequence[-1])
        return logits


class CrossAttentionFusion(SameWidthFusion):
    """A linear layer on the modalities' features after multi-head attention over all modalities."""

    def __init__(self, config: CrossAttention, encoders: Encoders, classes: int) -> None:
        super().__init__(encoders)
        self.heads, width = config.heads, self.same_width.width
        if width % self.heads:
            raise BssError(
                f"params.yaml: network.fusion.heads: must divide the width of the features ({width}), "
                f"but got: {self.heads}"
            )
        self.queries, self.keys, self.values, self.out = (nn.Linear(width, width) for _ in range(4))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width * len(encoders), classes)

    def forward(self, features: Features) -> Tensor:
        x = self.same_width(features)
        # [batch, heads, modalities, width / heads]
        q, k, v = (
            layer(x).unflatten(2, (self.heads, -1)).transpose(1, 2) for layer in (self.queries, self.keys, self.values)
        )
        attention = (q @ k.transpose(2, 3) / q.shape[3] ** 0.5).softmax(dim=3)
        attended = self.norm(x + self.out((attention @ v).transpose(1, 2).flatten(2)))
        logits: Tensor = self.head(attended.flatten(1))
        return logits


class ChannelExchangeFusion(Fusion):
    """A linear layer on the concatenated normalised pooled channels, after exchanging some.

    The channels are divided into one part per modality. In its own part, a modality's scales are
    driven to 0, and a channel whose scale falls below the threshold is replaced by the mean of the others'.
    """

    own: Tensor

    def __init__(self, config: ChannelExchange, encoders: Encoders, classes: int) -> None:
        super().__init__()
        widths = widths_of(encoders)
        kinds = {type(encoder).__name__.lower() for encoder in encoders.values()}
        pooled = all(encoder.channels for encoder in encoders.values())
        if len(kinds) > 1 or len(set(widths.values())) > 1 or not pooled:
            raise BssError(
                "params.yaml: network.fusion: `channel-exchange` needs encoders of one kind and one width whose "
                f"features are channels (resnet, or i3d, with features: null), but got kinds {sorted(kinds)} with "
                f"{widths} features."
            )
        width = next(iter(widths.values()))
        self.threshold, self.sparsity = config.threshold, config.sparsity
        self.norms = nn.ModuleDict({name: nn.BatchNorm1d(width) for name in widths})
        parts = torch.arange(width) * len(widths) // width
        own = parts == torch.arange(len(widths))[:, None]
        self.register_buffer("own", own, persistent=False)  # [modalities, width]
        self.head = nn.Linear(width * len(widths), classes)

    def forward(self, features: Features) -> Tensor:
        x = torch.stack([norm(features[name]) for name, norm in self.norms.items()], dim=1)
        others = (x.sum(dim=1, keepdim=True) - x) / (x.shape[1] - 1)
        exchanged = torch.where(self.own & (self._scales() < self.threshold), others, x)
        logits: Tensor = self.head(exchanged.flatten(1))
        return logits

    def penalty(self) -> Tensor | None:
        return self.sparsity * (self._scales() * self.own).sum()

    def _scales(self) -> Tensor:
        scales: list[Tensor] = [cast(Tensor, norm.weight) for norm in self.norms.values()]
        return torch.stack(scales).abs()


KINDS: dict[type[AnyFusion], Callable[[Any, Encoders, int], Fusion]] = {
    Concatenation: ConcatenationFusion,
    Sum: SumFusion,
    WeightedSum: WeightedSumFusion,
    Film: FilmFusion,
    Gated: GatedFusion,
    MlLstm: MlLstmFusion,
    CrossAttention: CrossAttentionFusion,
    ChannelExchange: ChannelExchangeFusion,
    Cosine: CosineFusion,
}


def build_fusion(config: AnyFusion, encoders: Encoders, classes: int) -> Fusion:
    """Return the fusion of params.yaml's kind for the features of `encoders`, freshly initialised.

    Raises `BssError` if the kind is not defined for them.
    """
    return KINDS[type(config)](config, encoders, classes)
