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
from bss.strategies.shares import ADDITIVE, coalitions, fuse_part, mean_of_others, shapley, share_logits

Zero = Literal["features", "inputs"]


@dataclass(frozen=True)
class Agm(Method):
    """The gradient that reaches a modality's Shapley share of the fused logits is scaled by how it usually does.

    A fusion that is additive in the features has the share's gradient in the encoder, which is scaled by the whole
    batch's statistics. Any other, and zeroed inputs, are trained on logits of the same value whose gradients are those
    of the scaled shares; the statistics are then those of each part of a batch.
    """

    kind: Literal["agm"] = "agm"
    weighted = True
    control = "weights.encoder_gradients=1.5"
    alpha: float = 1.0
    """Strength, at least 0."""
    window: tuple[float, float] = (0.0, 0.2)
    """The part of the epochs in which it acts."""
    zero: Zero = "features"
    """What is zero of a modality that a coalition lacks: its features; or its inputs (paper), by two more passes of the
    encoders, in eval mode, which learn from them too: one of all inputs, one of zeros."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(self.alpha >= 0, "alpha", self.alpha, "at least 0")
        check_window(self.window)

    def check(self, setting: Setting) -> None:
        """Require a fusion that zeroed features do not upset, and not too many coalitions."""
        wanted = "another than channel-exchange, whose batch normalisation zeroed features would upset"
        require(setting.fusion != "channel-exchange", "network.fusion.kind", setting.fusion, wanted)
        few = len(setting.modalities) <= 5
        wanted = f"one of {', '.join(ADDITIVE)} for more than 5 modalities"
        require(few or setting.fusion in ADDITIVE, "network.fusion.kind", setting.fusion, wanted)
        require(few or self.zero == "features", "zero", self.zero, "features for more than 5 modalities")

    def onset(self, setting: Setting) -> Onset:
        """Where the window begins."""
        return onset_in(self.window, setting.epochs)

    def warning(self, setting: Setting) -> str | None:
        """Scaling gradients does next to nothing under Adam."""
        return warning_of_adam(setting)

    def start(self, setting: Setting, modules: Mapping[Group, torch.nn.Module], classes: int) -> State:
        """Return the running means, [M], how many steps they hold, and sums [M + 1] over the parts of a step."""
        count = len(setting.modalities)
        return {"means": torch.zeros(count), "steps": torch.zeros(()), "sums": torch.zeros(count + 1)}

    def phase(self, context: Context) -> Any:
        """Return whether it acts."""
        return self._acts(context)

    def objectives(self, context: Context, seen: Seen) -> list[Objective]:
        """Return the loss; where encoders are not scaled, on logits whose gradient is that of scaled shares."""
        if not self._acts(context) or self._scales_encoders(context.setting):
            return super().objectives(context, seen)
        shares = shapley_logits(seen, self.zero)
        found = _entropies(shares, seen.labels).detach()
        context.state["sums"] = context.state["sums"] + found
        sums = context.total(found)
        factors = self.factors(context, sums[:-1] / sums[-1].clamp_min(1))
        parts = zip(shares.values(), factors, strict=True)
        fused = torch.stack([k * share + (1 - k) * share.detach() for share, k in parts]).sum(dim=0)
        # The value of `seen.fused`, to the bit; the sum of the shares differs from it by rounding.
        same = replace(seen, fused=fused + (seen.fused - fused).detach())
        return [Objective(weighted_loss(same, context.weights))]

    def gather(self, context: Context, seen: Seen) -> torch.Tensor | None:
        """Return the summed cross-entropy of each share, and the batch's size, where encoders are scaled."""
        if not self._acts(context) or not self._scales_encoders(context.setting):
            return None
        return _entropies(share_logits(seen), seen.labels)

    def after(self, context: Context, gathered: torch.Tensor | None, gradients: Gradients, draw: Draw) -> None:
        """Scale the encoders' gradients if that does it, and move the running means."""
        if not self._acts(context):
            return
        state = context.state
        sums = context.total(state["sums"]) if gathered is None else gathered
        entropies = sums[:-1] / sums[-1]
        if gathered is not None:
            for name, factor in zip(context.setting.modalities, self.factors(context, entropies), strict=True):
                scale(gradients, ("encoder", name), factor)
        state["means"] = self._means(context, entropies)
        state["steps"] = state["steps"] + 1
        state["sums"] = torch.zeros_like(sums)

    def factors(self, context: Context, entropies: torch.Tensor) -> torch.Tensor:
        """Return the factor of each modality, [M], from their shares' cross-entropies in this step [M]."""
        return factors(entropies, self._means(context, entropies), self.alpha)

    def _means(self, context: Context, entropies: torch.Tensor) -> torch.Tensor:
        means: torch.Tensor = context.state["means"]
        return means + (entropies - means) / (context.state["steps"] + 1)

    def _scales_encoders(self, setting: Setting) -> bool:
        return self.zero == "features" and setting.fusion in ADDITIVE

    def _acts(self, context: Context) -> bool:
        return inside(self.window, context.epoch, context.setting.epochs)


def factors(entropies: torch.Tensor, means: torch.Tensor, alpha: float) -> torch.Tensor:
    """Return the factors [M] from the shares' cross-entropies in this step [M] and on average so far [M]."""
    now = torch.exp(mean_of_others(entropies) - entropies)
    usual = torch.exp(mean_of_others(means) - means)
    return torch.exp(alpha * (usual - now).clamp(max=10))


def shapley_logits(seen: Seen, zero: Zero = "features") -> dict[str, torch.Tensor]:
    """Return each modality's Shapley share of the fused logits, [batch, classes]; they sum to the logits.

    A coalition has the features or the inputs of the others set to zero, and the empty one is worth nothing.
    """
    names, features, absent = list(seen.features), seen.features, None
    if zero == "inputs":
        assert seen.encode is not None
        features = seen.encode(seen.inputs)
        absent = seen.encode({name: torch.zeros_like(x) for name, x in seen.inputs.items()})
    value = {frozenset(c): fuse_part(features, seen.fuse, c, absent) for c in coalitions(names)}
    value |= {frozenset(names): seen.fused, frozenset(): torch.zeros_like(seen.fused)}
    return shapley(names, value)


def _entropies(logits: dict[str, torch.Tensor], labels: torch.Tensor) -> torch.Tensor:
    """Return the summed cross-entropy of each modality, and the batch's size, [M + 1]."""
    sums = [torch.nn.functional.cross_entropy(z, labels, reduction="sum") for z in logits.values()]
    return torch.stack([*sums, torch.ones_like(labels, dtype=torch.float32).sum()])


ENTRY = Agm
