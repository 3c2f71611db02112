"""AMSS and AMSS+ (Learning to Rebalance Multi-Modal Optimization by Adaptively Masking Subnetworks, TPAMI 2025)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

from bss.balance.checks import require
from bss.lazy_torch import torch
from bss.strategies.draw import Draw
from bss.strategies.hooks import FUSION, Context, Gradients, Seen, Setting
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
    relative: bool = True
    """Whether what a modality has learned is relative to the entropy of its features; in the public code of text and
    image it is not."""
    offset: float = 0.5
    """What is added to how far a modality's loss is below the entropy of the labels, at least 0; the public code of
    three modalities has 3. If a sum is not above 0, half of the units are drawn."""
    chances: Literal["gradients", "equal"] = "gradients"
    """What the probabilities of units follow: the squares of their gradients (paper), or nothing, as by the default of
    the public code's command."""
    batch_norm: bool = False
    """Whether the batch normalisation behind a layer is masked with it: a unit that is not drawn keeps its scale and
    shift. The public code masks convolutions alone."""
    classifier: bool = False
    """Whether the fusion head, a concatenation, is masked too: of each class some weights of each modality get their
    gradient. In the public code of text and image; that of audio and video computes the mask and does not use it."""
    source: Source = "share"
    """Logits that measure how far a modality has learned."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(self.temperature > 0, "temperature", self.temperature, "above 0")
        require(self.offset >= 0, "offset", self.offset, "at least 0")
        require(0 <= self.bounds[0] <= self.bounds[1] <= 1, "bounds", list(self.bounds), "two shares in order")

    def check(self, setting: Setting) -> None:
        """Require shares that mean something, and a fusion head that has weights of each modality."""
        super().check(setting)
        ok = not self.classifier or setting.fusion == "concatenation"
        require(ok, "network.fusion.kind", setting.fusion, "concatenation for amss with classifier: true")

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
        above = of_labels - losses / n + self.offset
        shares = self.shares(above, above / (entropies / n).clamp_min(tiny) if self.relative else above)
        for name, share in zip(names, shares, strict=True):
            self._mask_encoder(gradients.modules["encoder", name], share, draw.generator(f"units {name}"))
        if self.classifier:
            parts: Any = gradients.modules
            columns = parts[FUSION].head.weight.grad.split([parts["head", n].in_features for n in names], dim=1)
            for name, share, weights in zip(names, shares, columns, strict=True):
                weights.mul_(self.factors(weights.square(), share, draw.generator(f"classifier {name}")))

    def shares(self, above: torch.Tensor, significance: torch.Tensor) -> torch.Tensor:
        """Return the share of units of each modality, [M], from its significance [M], whose numerator is `above`."""
        shares = 1 - (significance / self.temperature).softmax(dim=0)
        shares = torch.where((above > 0).all(), shares, torch.full_like(shares, 0.5))
        return shares.clamp(*self.bounds)

    def _mask_encoder(self, encoder: torch.nn.Module, share: torch.Tensor, random: torch.Generator) -> None:
        for layer, norm in masked_layers(encoder):
            if layer.weight.grad is None:
                continue
            factors = self.factors(layer.weight.grad.flatten(1).square().sum(dim=1), share, random)
            scale_units(layer, factors)
            if self.batch_norm and norm is not None:
                scale_units(norm, factors)

    def factors(self, squares: torch.Tensor, share: torch.Tensor, random: torch.Generator) -> torch.Tensor:
        """Return the factor of each unit's gradient, [..., units], by its square; 0 for those that are not drawn."""
        weights = squares if self.chances == "gradients" else torch.ones_like(squares)
        chances = weights / weights.sum(dim=-1, keepdim=True).clamp_min(torch.finfo(weights.dtype).tiny)
        # The greatest of log p + Gumbel noise are a draw without replacement, of a number that lies on the device.
        uniform = torch.rand(chances.shape, generator=random, device=chances.device).clamp_min(1e-30)
        keys = chances.clamp_min(1e-30).log() - (-uniform.log()).log()
        place = keys.argsort(descending=True).argsort()
        number = (chances.shape[-1] * share).ceil()
        return (place < number) * unit_weights(chances, number, self.weighing)


def unit_weights(chances: torch.Tensor, number: torch.Tensor | float, weighing: str) -> torch.Tensor:
    """Return the factor of a drawn unit, [..., units], from its probability and the number of units drawn."""
    if weighing == "none":
        return torch.ones_like(chances)
    divisor = chances + 1 / chances.shape[-1] if weighing == "code" else number * chances
    return 1 / divisor.clamp_min(1e-12)


def masked_layers(encoder: torch.nn.Module) -> Iterator[tuple[Any, torch.nn.Module | None]]:
    """Yield the linear and convolutional layers of `encoder`, each with the batch normalisation behind it, if any.

    That is the next module with weights of its own, if it normalises as many channels.
    """
    layers = (torch.nn.Linear, torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d)
    norms = torch.nn.modules.batchnorm._BatchNorm
    weighted: list[Any] = [m for m in encoder.modules() if next(m.parameters(recurse=False), None) is not None]
    for layer, behind in pairwise([*weighted, None]):
        if isinstance(layer, layers):
            fits = isinstance(behind, norms) and behind.num_features == len(layer.weight)
            yield layer, behind if fits else None


def scale_units(layer: torch.nn.Module, factors: torch.Tensor) -> None:
    """Multiply the gradients of the weights of a `layer` [units, ...] by `factors` [units]."""
    for parameter in layer.parameters(recurse=False):
        if parameter.grad is not None:
            parameter.grad.mul_(factors.view(-1, *[1] * (parameter.grad.dim() - 1)))


ENTRY = Amss
