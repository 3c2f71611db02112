"""AGM (Li et al., Boosting Multi-modal Model Performance with Adaptive Gradient Modulation, ICCV 2023)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from bss.balance.checks import require
from bss.lazy_torch import torch
from bss.strategies.base import Method
from bss.strategies.draw import Draw
from bss.strategies.hooks import Context, Gradients, Group, Objective, Onset, Seen, Setting, State
from bss.strategies.losses import weighted_loss
from bss.strategies.scaling import check_window, inside, onset_in, scale, warning_of_adam
from bss.strategies.shares import ADDITIVE, coalitions, fuse_some, mean_of_others, shapley, share_logits


@dataclass(frozen=True)
class Agm(Method):
    """The gradient that reaches a modality's Shapley share of the fused logits is scaled by how it usually does.

    A fusion that is additive in the features has the share's gradient in the encoder, which is scaled by the whole
    batch's statistics. Any other is trained on logits of the same value whose gradients are those of the scaled
    shares; the statistics are then those of each part of a batch.
    """

    kind: Literal["agm"] = "agm"
    weighted = True
    control = "weights.encoder_gradients=1.5"
    alpha: float = 1.0
    """Strength, at least 0."""
    window: tuple[float, float] = (0.0, 0.2)
    """The part of the epochs in which it acts."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(self.alpha >= 0, "alpha", self.alpha, "at least 0")
        check_window(self.window)

    def check(self, setting: Setting) -> None:
        """Require a fusion that zeroed features do not upset, and not too many coalitions."""
        wanted = "another than channel-exchange, whose batch normalisation zeroed features would upset"
        require(setting.fusion != "channel-exchange", "network.fusion.kind", setting.fusion, wanted)
        few = setting.fusion in ADDITIVE or len(setting.modalities) <= 5
        require(few, "network.fusion.kind", setting.fusion, f"one of {', '.join(ADDITIVE)} for more than 5 modalities")

    def onset(self, setting: Setting) -> Onset:
        """Where the window begins."""
        return onset_in(self.window, setting.epochs)

    def warning(self, setting: Setting) -> str | None:
        """Scaling gradients does next to nothing under Adam."""
        return warning_of_adam(setting)

    def start(self, setting: Setting, modules: Mapping[Group, torch.nn.Module], classes: int) -> State:
        """Return the running means, [M], and how many steps they hold."""
        return {"means": torch.zeros(len(setting.modalities)), "steps": torch.zeros(())}

    def phase(self, context: Context) -> Any:
        """Return whether it acts."""
        return self._acts(context)

    def objectives(self, context: Context, seen: Seen) -> list[Objective]:
        """Return the loss; for a fusion that is not additive, on logits whose gradient is that of scaled shares."""
        if not self._acts(context) or context.setting.fusion in ADDITIVE:
            return super().objectives(context, seen)
        shares = shapley_logits(seen)
        sums = context.total(_entropies(shares, seen.labels))
        factors = self.factors(context, sums[:-1] / sums[-1].clamp_min(1))
        parts = zip(shares.values(), factors, strict=True)
        fused = torch.stack([k * share + (1 - k) * share.detach() for share, k in parts]).sum(dim=0)
        # The value of `seen.fused`, to the bit; the sum of the shares differs from it by rounding.
        same = replace(seen, fused=fused + (seen.fused - fused).detach())
        return [Objective(weighted_loss(same, context.weights))]

    def gather(self, context: Context, seen: Seen) -> torch.Tensor | None:
        """Return the summed cross-entropy of each share, and the batch's size."""
        if not self._acts(context):
            return None
        additive = context.setting.fusion in ADDITIVE
        return _entropies(share_logits(seen) if additive else shapley_logits(seen), seen.labels)

    def after(self, context: Context, gathered: torch.Tensor | None, gradients: Gradients, draw: Draw) -> None:
        """Scale the encoders' gradients if that does it, and move the running means."""
        if gathered is None:
            return
        entropies = gathered[:-1] / gathered[-1]
        if context.setting.fusion in ADDITIVE:
            for name, factor in zip(context.setting.modalities, self.factors(context, entropies), strict=True):
                scale(gradients, ("encoder", name), factor)
        context.state["means"] = self._means(context, entropies)
        context.state["steps"] = context.state["steps"] + 1

    def factors(self, context: Context, entropies: torch.Tensor) -> torch.Tensor:
        """Return the factor of each modality, [M], from their shares' cross-entropies in this step [M]."""
        return factors(entropies, self._means(context, entropies), self.alpha)

    def _means(self, context: Context, entropies: torch.Tensor) -> torch.Tensor:
        means: torch.Tensor = context.state["means"]
        return means + (entropies - means) / (context.state["steps"] + 1)

    def _acts(self, context: Context) -> bool:
        return inside(self.window, context.epoch, context.setting.epochs)


def factors(entropies: torch.Tensor, means: torch.Tensor, alpha: float) -> torch.Tensor:
    """Return the factors [M] from the shares' cross-entropies in this step [M] and on average so far [M]."""
    now = torch.exp(mean_of_others(entropies) - entropies)
    usual = torch.exp(mean_of_others(means) - means)
    return torch.exp(alpha * (usual - now).clamp(max=10))


def shapley_logits(seen: Seen) -> dict[str, torch.Tensor]:
    """Return each modality's Shapley share of the fused logits, [batch, classes]; they sum to the logits.

    A coalition has the features of the others set to zero, and the empty one is worth nothing.
    """
    names = list(seen.features)
    value = {frozenset(c): fuse_some(seen, c) for c in coalitions(names)} | {frozenset(names): seen.fused}
    value[frozenset()] = torch.zeros_like(seen.fused)
    return shapley(names, value)


def _entropies(logits: dict[str, torch.Tensor], labels: torch.Tensor) -> torch.Tensor:
    """Return the summed cross-entropy of each modality, and the batch's size, [M + 1]."""
    sums = [torch.nn.functional.cross_entropy(z, labels, reduction="sum") for z in logits.values()]
    return torch.stack([*sums, torch.ones_like(labels, dtype=torch.float32).sum()])


ENTRY = Agm
