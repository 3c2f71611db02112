"""Subjective logic: logits as evidence, which Dempster's rule combines (Han et al., TPAMI 2022)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

from bss.lazy_torch import torch


def alpha_of(logits: torch.Tensor) -> torch.Tensor:
    """Return the parameters of the Dirichlet distribution, above 1, of logits [batch, classes]: softplus + 1."""
    return torch.nn.functional.softplus(logits) + 1


def combined(alphas: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return the parameters of the combined opinion, from left to right, [batch, classes]."""
    return reduce(_combine, alphas)


def _combine(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    classes = one.shape[1]
    (b1, u1), (b2, u2) = _opinion(one), _opinion(other)
    agree = b1 * b2
    # 1 - K, with the conflict K = sum over i != j of b1_i b2_j, without the difference of nearly equal numbers.
    left = (agree.sum(dim=1, keepdim=True) + b1.sum(dim=1, keepdim=True) * u2 + u1).clamp_min(1e-30)
    belief, unsure = (agree + b1 * u2 + b2 * u1) / left, u1 * u2 / left
    return belief * classes / unsure + 1


def _opinion(alpha: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return belief [batch, classes] and uncertainty [batch, 1], which sum to 1."""
    total = alpha.sum(dim=1, keepdim=True)
    return (alpha - 1) / total, alpha.shape[1] / total


def evidential_loss(alpha: torch.Tensor, labels: torch.Tensor, annealing: float) -> torch.Tensor:
    """Return the expected cross-entropy plus `annealing` times the divergence of wrong evidence from none, [batch]."""
    right = alpha.gather(1, labels[:, None])[:, 0]
    entropy = torch.digamma(alpha.sum(dim=1)) - torch.digamma(right)
    is_label = torch.arange(alpha.shape[1], device=alpha.device) == labels[:, None]
    return entropy + annealing * divergence_from_uniform(torch.where(is_label, 1.0, alpha))


def divergence_from_uniform(alpha: torch.Tensor) -> torch.Tensor:
    """Return KL(Dir(alpha) || Dir(1, ..., 1)), float [batch]."""
    total = alpha.sum(dim=1)
    constant = torch.lgamma(torch.full_like(total, alpha.shape[1]))
    spread = ((alpha - 1) * (torch.digamma(alpha) - torch.digamma(total)[:, None])).sum(dim=1)
    return torch.lgamma(total) - torch.lgamma(alpha).sum(dim=1) - constant + spread
