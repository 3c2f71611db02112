"""Samples that show one modality only: their loss, and copies of them among the schedule's."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bss.balance.checks import require
from bss.lazy_torch import torch
from bss.strategies.hooks import ALL, Arranged, Seen, Setting, Weights
from bss.strategies.losses import weighted_loss


def check_hiding(setting: Setting) -> None:
    """Require a fusion whose statistics zeroed features do not upset."""
    wanted = "another than channel-exchange, whose batch normalisation would count the zeros"
    require(setting.fusion != "channel-exchange", "network.fusion.kind", setting.fusion, wanted)


def kept_loss(seen: Seen, weights: Weights) -> torch.Tensor:
    """Return the weighted cross-entropies, float [batch], those of heads only where a sample shows their modality."""
    if seen.kept is None:
        return weighted_loss(seen, weights)
    numbers = torch.arange(len(seen.logits), device=seen.kept.device)
    return shown_loss(seen, weights, (seen.kept[:, None] == ALL) | (seen.kept[:, None] == numbers))


def shown_loss(seen: Seen, weights: Weights, shown: torch.Tensor) -> torch.Tensor:
    """Return the weighted cross-entropies [batch], those of heads only where `shown` bool [batch, modalities]."""
    losses = []
    if weights.fused is not None:
        losses.append(weights.fused * torch.nn.functional.cross_entropy(seen.fused, seen.labels, reduction="none"))
    for number, (name, logits) in enumerate(seen.logits.items()):
        if name in weights.unimodal:
            entropy = torch.nn.functional.cross_entropy(logits, seen.labels, reduction="none")
            losses.append(weights.unimodal[name] * torch.where(shown[:, number], entropy, torch.zeros_like(entropy)))
    return torch.stack(losses).sum(dim=0)


def with_copies(
    sequence: npt.NDArray[np.int64],
    positions: npt.NDArray[np.int64],
    kept: npt.NDArray[np.int64],
    random: np.random.Generator,
) -> Arranged:
    """Return `sequence`, in its order, with copies at drawn places: of `positions` [k], which show `kept` [k] alone."""
    total = len(sequence) + len(positions)
    copied = np.zeros(total, dtype=bool)
    copied[random.permutation(total)[: len(positions)]] = True
    order = random.permutation(len(positions))
    shown, only = np.empty(total, dtype=np.int64), np.full(total, ALL, dtype=np.int64)
    shown[~copied], shown[copied] = sequence, positions[order]
    only[copied] = kept[order]
    return Arranged(shown, only)
