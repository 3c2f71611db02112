"""UMT (On Uni-Modal Feature Learning in Supervised Multi-Modal Learning, ICML 2023)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from bss.balance.checks import require
from bss.lazy_torch import torch
from bss.strategies.base import Method
from bss.strategies.hooks import Context, Objective, Seen
from bss.strategies.losses import weighted_loss


@dataclass(frozen=True)
class Umt(Method):
    """Each encoder's features are drawn to those of a teacher: the same encoder, trained on its modality alone.

    Costs a forward pass of the encoders more per step, and the training of the teachers, once per seed.
    """

    kind: Literal["umt"] = "umt"
    weighted = True
    control = "weights.fused=0.0"
    steady = True
    strength: float = 10.0
    """Weight of the mean squared distance of the features, at least 0; the paper tunes it in 1 to 50."""

    taught: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Check the range."""
        require(self.strength >= 0, "strength", self.strength, "at least 0")

    def objectives(self, context: Context, seen: Seen) -> list[Objective]:
        """Return the loss with the distance from the teachers."""
        assert seen.taught is not None
        distance = feature_distance(seen.features, seen.taught.features)
        return [Objective(weighted_loss(seen, context.weights) + self.strength * distance)]


def feature_distance(own: dict[str, torch.Tensor], taught: dict[str, torch.Tensor]) -> torch.Tensor:
    """Return the sum over the modalities of the mean squared difference of features, float [batch]."""
    return torch.stack([(x - taught[name]).square().mean(dim=1) for name, x in own.items()]).sum(dim=0)


ENTRY = Umt
