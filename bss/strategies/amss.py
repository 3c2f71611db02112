"""AMSS and AMSS+ (Learning to Rebalance Multi-Modal Optimization by Adaptively Masking Subnetworks, TPAMI 2025)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bss.balance.checks import require
from bss.lazy_torch import torch
from bss.strategies.draw import Draw
from bss.strategies.hooks import Context, Gradients, Seen
from bss.strategies.losses import one_hot
from bss.strategies.shares import BySource, Source, logits_of


@dataclass(frozen=True)
class Amss(BySource):
    """Of each layer of an encoder only some output units get their gradient, the fewer the further the modality is.

    The units are drawn without replacement, with probabilities by the squares of their gradients.
    """

    kind: Literal["amss"] = "amss"
    control = "weights.encoder_gradients=0.5"
    steady = True
    temperature: float = 0.2
    """Temperature of the shares of units, above 0; the authors take 0.2 for audio and video, 0.5 for text and image."""
    weighing: Literal["none", "code", "unbiased"] = "none"
    """What the gradients of the drawn units are divided by: nothing (AMSS), their probability plus one over the number
    of units (AMSS+ in public code), or the expected number of times that a unit is drawn."""
    bounds: tuple[float, float] = (0.1, 0.9)
    """Least and greatest share of units that are drawn, in [0, 1]."""
    source: Source = "share"
    """Logits that measure how far a modality has learned."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(self.temperature > 0, "temperature", self.temperature, "above 0")
        require(0 <= self.bounds[0] <= self.bounds[1] <= 1, "bounds", list(self.bounds), "two shares in order")

    def gather(self, context: Context, seen: Seen) -> torch.Tensor:
        """Return per modality the summed cross-entropy and entropy of the features, and the counts of the classes."""
        logits = logits_of(seen, self.source)
        losses = [torch.nn.functional.cross_entropy(z, seen.labels, reduction="sum") for z in logits.values()]
        logs = [x.log_softmax(dim=1) for x in seen.features.values()]
        entropies = [-(log.exp() * log).sum() for log in logs]
        counts = one_hot(seen.labels, seen.fused.shape[1]).sum(dim=0)
        return torch.cat([torch.stack(losses), torch.stack(entropies), counts])

    def after(self, context: Context, gathered: torch.Tensor | None, gradients: Gradients, draw: Draw) -> None:
        """Mask the gradients."""
        assert gathered is not None
        names = context.setting.modalities
        losses, entropies, counts = gathered.split([len(names), len(names), len(gathered) - 2 * len(names)])
        n, p = counts.sum(), counts / counts.sum()
        of_labels = -torch.special.xlogy(p, p).sum()
        tiny = torch.finfo(p.dtype).tiny
        above = of_labels - losses / n + 0.5
        shares = self.shares(above, above / (entropies / n).clamp_min(tiny))
        masked = (torch.nn.Linear, torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d)  # output units, weight and bias
        for name, share in zip(names, shares, strict=True):
            random = draw.generator(f"units {name}")
            for layer in gradients.modules["encoder", name].modules():
                if isinstance(layer, masked) and layer.weight.grad is not None:
                    self._mask(layer, share, random)

    def shares(self, above: torch.Tensor, significance: torch.Tensor) -> torch.Tensor:
        """Return the share of units of each modality, [M], from its significance [M], whose numerator is `above`."""
        shares = 1 - (significance / self.temperature).softmax(dim=0)
        shares = torch.where((above > 0).all(), shares, torch.full_like(shares, 0.5))
        return shares.clamp(*self.bounds)

    def _mask(self, layer: torch.nn.Module, share: torch.Tensor, random: torch.Generator) -> None:
        weight = layer.weight.grad
        assert isinstance(weight, torch.Tensor)
        squares = weight.flatten(1).square().sum(dim=1)
        chances = squares / squares.sum().clamp_min(torch.finfo(squares.dtype).tiny)
        factors = self.factors(chances, share, random)
        weight.mul_(factors.view(-1, *[1] * (weight.dim() - 1)))
        bias = layer.bias
        if isinstance(bias, torch.Tensor) and bias.grad is not None:
            bias.grad.mul_(factors)

    def factors(self, chances: torch.Tensor, share: torch.Tensor, random: torch.Generator) -> torch.Tensor:
        """Return the factor of each unit's gradient, [units], 0 for those that are not drawn."""
        units = len(chances)
        # The greatest of log p + Gumbel noise are a draw without replacement, of a number that lies on the device.
        uniform = torch.rand(units, generator=random, device=chances.device).clamp_min(1e-30)
        keys = chances.clamp_min(1e-30).log() - (-uniform.log()).log()
        place = keys.argsort(descending=True).argsort()
        number = (units * share).ceil()
        return (place < number) * unit_weights(chances, number, self.weighing)


def unit_weights(chances: torch.Tensor, number: torch.Tensor | float, weighing: str) -> torch.Tensor:
    """Return the factor of a drawn unit, [units], from its probability and the number of units drawn."""
    if weighing == "none":
        return torch.ones_like(chances)
    divisor = chances + 1 / len(chances) if weighing == "code" else number * chances
    return 1 / divisor.clamp_min(1e-12)


ENTRY = Amss
