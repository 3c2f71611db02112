"""What the logits say of each modality: those of its head, or its share of the fused ones."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from itertools import combinations
from math import comb
from typing import TYPE_CHECKING, Literal

from bss.balance.checks import require
from bss.lazy_torch import torch
from bss.strategies.base import Method
from bss.strategies.hooks import Seen, Setting

if TYPE_CHECKING:
    Fuse = Callable[[Mapping[str, torch.Tensor]], torch.Tensor]
    """A fusion head: features [batch, width] per modality to logits [batch, classes]."""

Source = Literal["share", "heads"]
"""share: what the fusion head makes of the modality alone; heads: the unimodal heads."""

ADDITIVE = ("concatenation", "sum", "weighted-sum", "cosine")
"""Fusions whose logits are a sum over the modalities of functions of their features."""


def fuse_some(seen: Seen, present: Iterable[str]) -> torch.Tensor:
    """Return the fused logits [batch, classes] of some modalities, the features of all others being zero."""
    return fuse_part(seen.features, seen.fuse, present)


def fuse_part(
    features: Mapping[str, torch.Tensor],
    fuse: Fuse,
    present: Iterable[str],
    absent: Mapping[str, torch.Tensor] | None = None,
) -> torch.Tensor:
    """Return the fused logits [batch, classes] of the modalities `present`.

    The features of all others are those of `absent`, [width] or [batch, width] per modality; None: zero.
    """
    kept = set(present)
    instead = {
        name: torch.zeros_like(x) if absent is None else absent[name].expand_as(x) for name, x in features.items()
    }
    return fuse({name: x if name in kept else instead[name] for name, x in features.items()})


def coalitions(names: Iterable[str]) -> list[tuple[str, ...]]:
    """Return the parts of `names` that are neither empty nor whole, small ones first."""
    every = list(names)
    return [c for size in range(1, len(every)) for c in combinations(every, size)]


def shapley(names: Iterable[str], value: Mapping[frozenset[str], torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the Shapley share of each of `names` from the value of every part of them, the empty one too."""
    every, shares = list(names), {}
    for name in every:
        without = [c for c in value if name not in c]
        weights = [1 / (len(every) * comb(len(every) - 1, len(c))) for c in without]
        gains = [w * (value[c | {name}] - value[c]) for c, w in zip(without, weights, strict=True)]
        shares[name] = torch.stack(gains).sum(dim=0)
    return shares


def sample_contributions(seen: Seen, absent: Mapping[str, torch.Tensor] | None = None) -> torch.Tensor:
    """Return the contribution of each modality to the prediction of each sample, float64 [batch, M].

    Its Shapley share of a game in which some modalities, the features of the others being zero, win their number if
    the fused prediction is right, else nothing (Wei et al., CVPR 2024). The shares of a sample sum to M or 0. `absent`
    [width] per modality takes the place of the zeros.
    """
    names = list(seen.features)
    parts = {frozenset(c): fuse_part(seen.features, seen.fuse, c, absent) for c in coalitions(names)}
    fused = parts | {frozenset(names): seen.fused}
    value = {c: len(c) * (z.argmax(dim=1) == seen.labels).double() for c, z in fused.items()}
    value[frozenset()] = torch.zeros_like(value[frozenset(names)])
    return torch.stack(list(shapley(names, value).values()), dim=1)


def share_logits(seen: Seen) -> dict[str, torch.Tensor]:
    """Return each modality's share of the fused logits, ``z(f_m) - (1 - 1/M) z(0)``, [batch, classes].

    For concatenation that is ``W_m f_m + b / M``, so that the shares sum to the fused logits.
    """
    return share_of(seen.features, lambda present: fuse_some(seen, present))


def share_of(names: Collection[str], fused: Callable[[tuple[str, ...]], torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the same of modalities `names`, from the fused logits of some of them, the others' features being zero."""
    rest = (1 - 1 / len(names)) * fused(())
    return {name: fused((name,)) - rest for name in names}


def logits_of(seen: Seen, source: Source) -> dict[str, torch.Tensor]:
    """Return the logits that `source` says, [batch, classes] per modality."""
    return seen.logits if source == "heads" else share_logits(seen)


def confidence_sums(logits: dict[str, torch.Tensor], labels: torch.Tensor) -> torch.Tensor:
    """Return the sum over the batch of each modality's probability of the label, and the batch's size, [M + 1]."""
    right = [z.softmax(dim=1).gather(1, labels[:, None]).sum() for z in logits.values()]
    return torch.stack([*right, torch.ones_like(labels, dtype=torch.float32).sum()])


def mean_of_others(values: torch.Tensor) -> torch.Tensor:
    """Return for each of `values` [M] the mean of the others, [M]."""
    return (values.sum() - values) / (len(values) - 1)


def over_others(values: torch.Tensor) -> torch.Tensor:
    """Return each of `values` [M], at least 0, over the mean of the others, [M]."""
    return values / mean_of_others(values).clamp_min(torch.finfo(values.dtype).tiny)


def under_others(values: torch.Tensor) -> torch.Tensor:
    """Return the mean of the others over each of `values` [M], at least 0, [M]."""
    return mean_of_others(values) / values.clamp_min(torch.finfo(values.dtype).tiny)


class BySource(Method):
    """Reads logits of single modalities from `source`, which the method declares where its default is."""

    source: Source

    @property
    def needs_heads(self) -> bool:
        """Whether they are those of the heads."""
        return self.source == "heads"

    def check(self, setting: Setting) -> None:
        """Require shares that mean something."""
        check_source(setting, self.source)


def check_source(setting: Setting, source: Source) -> None:
    """Require that shares mean something: a fusion that zeroed features do not upset."""
    if source == "share":
        wanted = "another than channel-exchange, whose batch normalisation zeroed features would upset"
        require(setting.fusion != "channel-exchange", "network.fusion.kind", setting.fusion, wanted)
