"""DOMFN (A Divergence-Orientated Multi-modal Fusion Network for Resume Assessment, ACM MM 2022)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from bss.balance.checks import require
from bss.lazy_torch import torch
from bss.strategies.base import Strategy
from bss.strategies.hooks import Context, Objective, Prediction, Seen, Setting, Weights
from bss.strategies.surest import divergence


@dataclass(frozen=True)
class Domfn(Strategy):
    """Samples are fused only where the heads agree with the fused one; elsewhere the surest head alone decides.

    The authors' code decides for a batch of one sample; here each sample has its own mask.
    """

    kind: Literal["domfn"] = "domfn"
    control = "weights.unimodal=4.0"
    steady = True
    eta: float = 0.1
    """What a head gains per divergence from the fused one, at least 0."""
    agreement: float = 0.5
    """Divergence, in [0, 1], below which a head agrees with the fused one: the authors' gamma times tau."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(self.eta >= 0, "eta", self.eta, "at least 0")
        require(0 <= self.agreement <= 1, "agreement", self.agreement, "in [0, 1]")

    def weights(self, setting: Setting) -> Weights:
        """Return that all heads are trained."""
        return Weights(1.0, dict.fromkeys(setting.modalities, 1.0))

    def prediction(self, setting: Setting) -> Prediction:
        """Return that only samples on which the heads agree are fused."""
        return "surest"

    def network(self, setting: Setting) -> Mapping[str, Any]:
        """Return where heads agree."""
        return {"agreement": self.agreement}

    def objectives(self, context: Context, seen: Seen) -> list[Objective]:
        """Return the losses of the heads, and where they agree the joint one."""

        def entropy(logits: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.cross_entropy(logits, seen.labels, reduction="none")

        entropies = torch.stack([entropy(z) for z in seen.logits.values()])
        apart = divergence(torch.stack(list(seen.logits.values())), seen.fused)
        alone = self.head_loss(entropies, apart).sum(dim=0)
        agree = (apart < self.agreement).all(dim=0)
        return [Objective(alone + torch.where(agree, entropies.sum(dim=0) + entropy(seen.fused), 0.0))]

    def head_loss(self, entropy: torch.Tensor, apart: torch.Tensor) -> torch.Tensor:
        """Return the loss of a head from its cross-entropy and its divergence from the fused one."""
        return 0.5 * entropy.square() - self.eta * apart


ENTRY = Domfn
