"""How the learning rate changes while a network trains: `train.decay`."""

from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Tag

from bss.balance.checks import require


@dataclass(frozen=True)
class StepDecay:
    """The learning rate is multiplied by `factor` at the start of each epoch in `at` (counted from 0)."""

    at: tuple[int, ...] = ()
    factor: float = 0.1
    kind: Literal["step"] = "step"

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(all(epoch >= 1 for epoch in self.at), "at", self.at, "epochs of at least 1")
        require(0 < self.factor <= 1, "factor", self.factor, "in (0, 1]")

    def stretched(self, before: int, after: int) -> Self:
        """Return the decay of `before` epochs, moved in proportion to `after` epochs."""
        at = tuple(max(1, round(epoch * after / before)) for epoch in self.at)
        return replace(self, at=tuple(dict.fromkeys(at)))


@dataclass(frozen=True)
class CosineDecay:
    """A linear warm-up, then half a cosine (Loshchilov and Hutter, 2017, without restarts); it changes in every step.

    Progress is counted in epochs, and within an epoch in its steps, so that rows whose epochs have fewer steps (BSS-H)
    have the same learning rate at the same share of the same epoch.
    """

    kind: Literal["cosine"]
    warmup_epochs: float = 0.0
    """Epochs of the warm-up, whose last step has the whole rate; at least 0 and less than `train.epochs`."""
    final: float = 0.0
    """Where the cosine ends, as a share of the learning rate, in [0, 1]."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(self.warmup_epochs >= 0, "warmup_epochs", self.warmup_epochs, "at least 0")
        require(0 <= self.final <= 1, "final", self.final, "in [0, 1]")

    def stretched(self, before: int, after: int) -> Self:
        """Return the decay of `before` epochs, moved in proportion to `after` epochs."""
        return replace(self, warmup_epochs=self.warmup_epochs * after / before)


Decay = StepDecay | CosineDecay


def _kind(value: Any) -> Any:
    """Return the kind of a decay, which is `step` if it says none."""
    return value.get("kind", "step") if isinstance(value, dict) else getattr(value, "kind", None)


DecayConfig = Annotated[Annotated[StepDecay, Tag("step")] | Annotated[CosineDecay, Tag("cosine")], Discriminator(_kind)]
