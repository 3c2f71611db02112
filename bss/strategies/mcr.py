"""MCR (Kontras et al., Balancing Multimodal Training through Game-theoretic Regularization, NeurIPS 2025)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from bss.balance.checks import require
from bss.lazy_torch import torch
from bss.strategies.base import Method
from bss.strategies.draw import Draw
from bss.strategies.hooks import Context, Objective, Seen, Setting
from bss.strategies.lfm import divergence
from bss.strategies.losses import weighted_loss

if TYPE_CHECKING:
    from bss.strategies.shares import Fuse


@dataclass(frozen=True)
class Mcr(Method):
    """Encoders compete for the fused prediction, which is to change when their features are permuted in the batch.

    Features of all modalities are drawn together by label besides. Both see only the samples of one part of a batch.
    """

    kind: Literal["mcr"] = "mcr"
    weighted = True
    control = "modality-dropout"
    steady = True
    strength: float = 0.01
    """Strength of the game, at least 0."""
    game: Literal["greedy", "independent", "collaborative"] = "greedy"
    """greedy: an encoder raises how much the prediction depends on its own features and lowers it for the others';
    independent: it raises its own alone; collaborative: all encoders raise it for all modalities."""
    permutations: int = 32
    """Over which a dependence is averaged, at least 1; the fusion head runs so often for every pair of modalities."""
    contrast: float = 1.0
    """Weight of the supervised contrastive loss of the features, at least 0; above 0 needs encoders of one width."""
    temperature: float = 0.5
    """Temperature of that loss, above 0."""

    published: ClassVar = (1.0, 1.0)

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(self.strength >= 0, "strength", self.strength, "at least 0")
        require(self.permutations >= 1, "permutations", self.permutations, "at least 1")
        require(self.contrast >= 0, "contrast", self.contrast, "at least 0")
        require(self.temperature > 0, "temperature", self.temperature, "above 0")

    @property
    def one_width(self) -> bool:
        """Whether the contrastive loss counts."""
        return self.contrast != 0

    def check(self, setting: Setting) -> None:
        """Require one rank: permutations and pairs are within one, so they would depend on their number."""
        wanted = "1 (nodes x processes) for the strategy mcr, whose permutations lie in one process"
        require(setting.ranks == 1, "train.processes", setting.ranks, wanted)

    def objectives(self, context: Context, seen: Seen) -> list[Objective]:
        """Return the loss with both terms."""
        loss = weighted_loss(seen, context.weights)
        if self.strength:
            assert context.draw is not None
            loss = loss + self.strength * self.regulariser(seen, context.draw)
        if self.contrast:
            features = list(seen.features.values())
            loss = loss + self.contrast * contrastive(features, seen.labels, self.temperature)
        return [Objective(loss)]

    def regulariser(self, seen: Seen, draw: Draw) -> torch.Tensor:
        """Return the loss that the encoders minimise in the game, [batch]."""
        orders = draw.uniform("permutations", self.permutations).argsort(dim=0).T  # [permutations, batch]
        names = list(seen.features)
        if self.game == "collaborative":
            return -torch.stack([dependence(seen.fuse, seen.features, name, orders) for name in names]).sum(dim=0)
        terms = []
        for own in names:
            # The others' features are given, so that only this encoder learns from the term.
            features = {name: x if name == own else x.detach() for name, x in seen.features.items()}
            terms.append(-dependence(seen.fuse, features, own, orders))
            if self.game == "greedy":
                terms += [dependence(seen.fuse, features, name, orders) for name in names if name != own]
        return torch.stack(terms).sum(dim=0)


def dependence(fuse: Fuse, features: Mapping[str, torch.Tensor], name: str, orders: torch.Tensor) -> torch.Tensor:
    """Return how much the fused prediction changes when modality `name` is permuted, [batch], in [0, log 2].

    The Jensen-Shannon divergence of the predictions, the mean over `orders` int64 [k, batch].
    """
    count = len(orders)
    mixed = {n: x[orders].flatten(0, 1) if n == name else x.repeat(count, 1) for n, x in features.items()}
    changed = fuse(mixed).log_softmax(dim=1)
    plain = fuse(features).log_softmax(dim=1).repeat(count, 1)
    return divergence(changed, plain, "js").view(count, -1).mean(dim=0)


def contrastive(features: list[torch.Tensor], labels: torch.Tensor, temperature: float) -> torch.Tensor:
    """Return the supervised contrastive loss of `features` [batch, width] each, [batch].

    All features are compared with each other, whatever their modality: per pair of one label the cross-entropy of that
    pair against all pairs of other labels, the mean over pairs. Khosla et al., NeurIPS 2020.
    """
    views = torch.nn.functional.normalize(torch.cat(features), dim=1, eps=1e-6)
    similar = views @ views.T / temperature
    repeated = labels.repeat(len(features))
    same = repeated[:, None] == repeated
    others = similar.masked_fill(same, -1e9).logsumexp(dim=1, keepdim=True)
    itself = torch.eye(len(views), dtype=torch.bool, device=views.device)
    pairs = (same & ~itself).to(views.dtype)
    losses = (pairs * torch.nn.functional.softplus(others - similar)).sum(dim=1) / pairs.sum(dim=1)
    return losses.view(len(features), -1).mean(dim=0)


ENTRY = Mcr
