"""MMPareto (Wei and Hu, Boosting Multimodal Learning with Innocent Unimodal Assistance, ICML 2024)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from bss.balance.checks import require
from bss.lazy_torch import torch
from bss.strategies.base import Method
from bss.strategies.draw import Draw
from bss.strategies.hooks import FUSION, Context, Gradients, Group, Objective, Seen, Setting, Weights
from bss.strategies.losses import weighted_loss
from bss.strategies.scaling import warning_of_adam


@dataclass(frozen=True)
class MmPareto(Method):
    """Each encoder's gradients of the fused and of its unimodal loss are combined so that they do not conflict.

    Without conflict that is the plain sum of losses with encoder gradients times `factor`.
    """

    kind: Literal["mmpareto"] = "mmpareto"
    needs_heads = True
    weighted = True
    control = "weights.encoder_gradients=3.0"
    steady = True
    factor: float = 1.5
    """Factor of the combined gradient, above 0. Adam barely notices a constant factor."""
    weighing: Literal["pareto", "equal"] = "pareto"
    """equal: both always weigh the same, the control."""
    norm: Literal["modality", "tensor"] = "modality"
    """The length to which a short combination is stretched: that of the sum over an encoder (paper), or over each of
    its tensors (public code)."""

    published: ClassVar = (1.0, 1.0)

    def __post_init__(self) -> None:
        """Check the range."""
        require(self.factor > 0, "factor", self.factor, "above 0")

    def check(self, setting: Setting) -> None:
        """Require a fused loss, too."""
        fused = bool(self.weights(setting).fused)
        require(fused, "network.loss_weights.fused", setting.fused, "above 0 for mmpareto with loss: product")

    def warning(self, setting: Setting) -> str | None:
        """Under Adam the factor does next to nothing; what conflicts is combined all the same."""
        return None if self.factor == 1 else warning_of_adam(setting, "its `factor`")

    def objectives(self, context: Context, seen: Seen) -> list[Objective]:
        """Return both losses apart for the encoders, and their sum for the heads."""
        names, weights = context.setting.modalities, context.weights
        encoders: tuple[Group, ...] = tuple(("encoder", name) for name in names)
        heads: tuple[Group, ...] = tuple(("head", name) for name in names)
        return [
            Objective(weighted_loss(seen, Weights(weights.fused, {})), encoders, apart=True),
            Objective(weighted_loss(seen, Weights(None, weights.unimodal)), encoders, apart=True),
            Objective(weighted_loss(seen, weights), (*heads, FUSION)),
        ]

    def after(self, context: Context, gathered: torch.Tensor | None, gradients: Gradients, draw: Draw) -> None:
        """Give the encoders their combined gradients."""
        fused, unimodal = gradients.apart
        for name in context.setting.modalities:
            group: Group = ("encoder", name)
            trained = [p for p in gradients.modules[group].parameters() if p.requires_grad]
            for parameter, gradient in zip(trained, self.combined(fused[group], unimodal[group]), strict=True):
                parameter.grad = gradient

    def combined(self, a: list[torch.Tensor], b: list[torch.Tensor]) -> list[torch.Tensor]:
        """Return the combination of two gradients, of the same tensors."""
        share = self._share(a, b)
        mixed = [2 * share * x + 2 * (1 - share) * y for x, y in zip(a, b, strict=True)]
        plain = [x + y for x, y in zip(a, b, strict=True)]
        if self.norm == "tensor":
            return [self.factor * _stretch([p], [m]) * m for p, m in zip(plain, mixed, strict=True)]
        stretch = self.factor * _stretch(plain, mixed)
        return [stretch * m for m in mixed]

    def _share(self, a: list[torch.Tensor], b: list[torch.Tensor]) -> torch.Tensor:
        """Return the weight of `a`, a half if they do not conflict, else that of the shortest combination."""
        aa, bb, ab = _dot(a, a), _dot(b, b), _dot(a, b)
        half = torch.full_like(ab, 0.5)
        if self.weighing == "equal":
            return half
        shortest = ((bb - ab) / (aa + bb - 2 * ab).clamp_min(torch.finfo(ab.dtype).tiny)).clamp(0.001, 0.999)
        return torch.where(ab < 0, shortest, half)


def _dot(a: list[torch.Tensor], b: list[torch.Tensor]) -> torch.Tensor:
    return torch.stack([(x * y).sum() for x, y in zip(a, b, strict=True)]).sum()


def _stretch(plain: list[torch.Tensor], mixed: list[torch.Tensor]) -> torch.Tensor:
    """Return the factor that makes `mixed` as long as `plain`; 1 if it is at least as long, or zero."""
    length, wanted = _dot(mixed, mixed).sqrt(), _dot(plain, plain).sqrt()
    tiny = torch.finfo(length.dtype).tiny
    return torch.where(length > 0, (wanted / length.clamp_min(tiny)).clamp_min(1), torch.ones_like(length))


ENTRY = MmPareto
