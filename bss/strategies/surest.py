"""Which head decides: the fused one where all agree with it, else the surest (DOMFN)."""

from __future__ import annotations

from bss.lazy_torch import torch


def divergence(logits: torch.Tensor, fused: torch.Tensor) -> torch.Tensor:
    """Return the largest squared difference of a class's probability from the fused head's, [heads, batch].

    `logits` [heads, batch, classes] are the unimodal ones, `fused` [batch, classes].
    """
    return (logits.softmax(dim=2) - fused.softmax(dim=1)).square().amax(dim=2)


def surest(logits: torch.Tensor, fused: torch.Tensor, agreement: float) -> torch.Tensor:
    """Return, for each sample, `fused` if every head's divergence is below `agreement`, else the surest head's logits.

    Shapes are those of `divergence`; the result is [batch, classes].
    """
    agree = (divergence(logits, fused) < agreement).all(dim=0)
    which = logits.softmax(dim=2).amax(dim=2).argmax(dim=0)
    return torch.where(agree[:, None], fused, logits[which, torch.arange(len(fused), device=fused.device)])
