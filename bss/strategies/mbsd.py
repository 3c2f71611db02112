"""MBSD (Multimodal Pre-training with Self-Distillation for Product Understanding in E-Commerce, WSDM 2023)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from bss.balance.checks import require
from bss.lazy_torch import torch
from bss.strategies.base import Method
from bss.strategies.hooks import Context, Objective, Seen
from bss.strategies.losses import mean_over_pairs, weighted_loss


@dataclass(frozen=True)
class Mbsd(Method):
    """Where a head is right, the logits of all heads are drawn together, the more the more their sureness differs."""

    kind: Literal["mbsd"] = "mbsd"
    needs_heads = True
    weighted = True
    control = "weights.label_smoothing=0.1"
    steady = True
    strength: float = 1.0
    """Factor of both terms, at least 0."""

    published: ClassVar = (1.0, 1.0)

    def __post_init__(self) -> None:
        """Check the range."""
        require(self.strength >= 0, "strength", self.strength, "at least 0")

    def objectives(self, context: Context, seen: Seen) -> list[Objective]:
        """Return the loss with both terms."""
        loss = weighted_loss(seen, context.weights)
        return [Objective(loss + self.strength * distillation(seen.logits, seen.labels, seen.ignored))]


def difference_of_sureness(
    logits: dict[str, torch.Tensor], labels: torch.Tensor, ignored: torch.Tensor | None = None
) -> torch.Tensor:
    """Return the greatest less the least probability of the label, [batch]; 0 where no head is right. Detached.

    Heads of `ignored` modalities (bool [batch, modalities]) do not count.
    """
    stacked = torch.stack(list(logits.values())).detach()
    sure = stacked.softmax(dim=2)[:, torch.arange(len(labels), device=labels.device), labels]
    right = stacked.argmax(dim=2) == labels
    if ignored is None:
        return (sure.amax(dim=0) - sure.amin(dim=0)) * right.any(dim=0)
    shown = ~ignored.T
    greatest, least = torch.where(shown, sure, 0.0).amax(dim=0), torch.where(shown, sure, 1.0).amin(dim=0)
    return (greatest - least) * (right & shown).any(dim=0)


def distillation(
    logits: dict[str, torch.Tensor], labels: torch.Tensor, ignored: torch.Tensor | None = None
) -> torch.Tensor:
    """Return the mean over pairs of heads of the squared distance of logits, over C, plus KL(surer || less sure).

    Float [batch], weighted by `difference_of_sureness`; the surer side of the divergence is detached.
    """

    def distance(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        log_a, log_b = a.log_softmax(dim=1), b.log_softmax(dim=1)
        a_is_surer = (log_a.gather(1, labels[:, None]) >= log_b.gather(1, labels[:, None]))[:, 0]
        divergence = torch.where(a_is_surer, _divergence(log_a, log_b), _divergence(log_b, log_a))
        return (a - b).square().mean(dim=1) + divergence

    return difference_of_sureness(logits, labels, ignored) * mean_over_pairs(logits, ignored, distance)


def _divergence(teacher: torch.Tensor, student: torch.Tensor) -> torch.Tensor:
    """Return KL(teacher || student), [batch], of log-probabilities; the teacher is detached."""
    teacher = teacher.detach()
    return (teacher.exp() * (teacher - student)).sum(dim=1)


ENTRY = Mbsd
