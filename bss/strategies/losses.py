"""Losses that several strategies share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import combinations

from bss.lazy_torch import torch
from bss.strategies.hooks import Seen, Weights


def weighted_loss(seen: Seen, weights: Weights, label_smoothing: float = 0.0) -> torch.Tensor:
    """Return the weighted sum of the cross-entropies of `seen`, float [batch]; smoothing of 0 is that of `seen`."""
    targets = seen.labels if seen.targets is None else seen.targets
    smoothing = label_smoothing or seen.label_smoothing

    def entropy(logits: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(
            logits, targets, seen.class_weights, reduction="none", label_smoothing=smoothing
        )

    fused = None if weights.fused is None else weights.fused * entropy(seen.fused)
    if not weights.unimodal:
        assert fused is not None
        return fused
    losses = {name: entropy(logits) for name, logits in seen.logits.items() if name in weights.unimodal}
    if len(set(weights.unimodal.values())) == 1:  # the operations of `training_loss`, to the bit
        unimodal = next(iter(weights.unimodal.values())) * torch.stack(list(losses.values())).sum(dim=0)
    else:
        unimodal = torch.stack([weights.unimodal[name] * loss for name, loss in losses.items()]).sum(dim=0)
    return unimodal if fused is None else fused + unimodal


def mean_over_pairs(
    logits: Mapping[str, torch.Tensor],
    ignored: torch.Tensor | None,
    distance: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
) -> torch.Tensor:
    """Return the mean distance over the pairs of modalities that a sample shows, float [batch]; 0 if there is none.

    An ignored modality (bool [batch, modalities], in the order of `logits`) has logits of 0, to which those of the
    others would be drawn.
    """
    found = torch.stack([distance(one, other) for one, other in combinations(logits.values(), 2)])
    if ignored is None:
        return found.mean(dim=0)
    both = torch.stack([~(one | other) for one, other in combinations(ignored.unbind(dim=1), 2)])
    return torch.where(both, found, 0.0).sum(dim=0) / both.sum(dim=0).clamp_min(1)


def one_hot(labels: torch.Tensor, classes: int) -> torch.Tensor:
    """Return `labels` int64 [batch] as float32 [batch, classes]; torch's own would wait for the device."""
    return (labels[:, None] == torch.arange(classes, device=labels.device)).to(torch.float32)
