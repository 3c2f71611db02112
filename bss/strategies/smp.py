"""SMP, the freezing schedule of G2D (Boosting Multimodal Learning with Gradient-Guided Distillation, ICCV 2025)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from bss.balance.checks import require
from bss.lazy_torch import torch
from bss.strategies.base import Method
from bss.strategies.hooks import Context, EpochPlan, Facts, Group, Onset, Setting, Split, State


@dataclass(frozen=True)
class Smp(Method):
    """The weakest modality's encoder trains alone at first, then the next weakest joins it, in the end all train.

    Encoders that wait are frozen: no gradient, no momentum, no batch statistics.
    """

    kind: Literal["smp"] = "smp"
    control = "weights.encoder_gradients=0.5"
    steady = True
    order: tuple[str, ...] | None = None
    """All modalities, weakest first; null: by the mean probability of the label in their heads on train, after
    `warm_up` epochs in which all train. `loss: published` trains no heads, so that it needs an order."""
    warm_up: int = 3
    """Used if `order` is null, at least 1."""
    until: tuple[float, ...] | None = None
    """Shares of the epochs at which one more encoder joins, one fewer than modalities; null: evenly up to half of the
    epochs, as the authors do with two."""

    splits: ClassVar[tuple[Split, ...]] = ("train",)
    published: ClassVar = (1.0, None)

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(self.warm_up >= 1, "warm_up", self.warm_up, "at least 1")
        check_until(self.until)

    @property
    def needs_heads(self) -> bool:
        """Whether they give the order."""
        return self.order is None

    def check(self, setting: Setting) -> None:
        """Require every modality once, and as many times as there are to join."""
        ok = self.order is None or sorted(self.order) == sorted(setting.modalities)
        require(ok, "order", self.order, f"null or all of {list(setting.modalities)}, weakest first")
        check_until(self.until, len(setting.modalities) - 1)

    def onset(self, setting: Setting) -> Onset:
        """When an encoder first waits."""
        names, start = list(setting.modalities), 0 if self.order else self.warm_up
        waits = (e for e in range(start, setting.epochs) if waiting(names, self.until, e, setting.epochs))
        return Onset(next(waits, setting.epochs), "until" if self.order else "warm_up")

    def start(self, setting: Setting, modules: Mapping[Group, torch.nn.Module], classes: int) -> State:
        """Return the order, which may have to be found."""
        return {"order": None if self.order is None else list(self.order)}

    def reads(self, context: Context) -> bool:
        """After the warm-up, if the order is not given."""
        return self.order is None and context.epoch == self.warm_up

    def plan(self, context: Context, facts: Mapping[str, Facts], modules: Mapping[Group, torch.nn.Module]) -> EpochPlan:
        """Return which encoders are frozen."""
        names = context.setting.modalities
        if facts:
            confidence = facts["train"].confidence
            context.state["order"] = sorted(names, key=lambda name: confidence[name])
        order = context.state["order"] or []
        return EpochPlan(frozen=waiting(order, self.until, context.epoch, context.setting.epochs))


def check_until(until: tuple[float, ...] | None, wanted: int | None = None) -> None:
    """Require null, or shares of the epochs in ascending order, `wanted` of them unless that is None."""
    ok = until is None or (sorted(until) == list(until) and all(0 <= share <= 1 for share in until))
    require(ok, "until", until, "null or shares in [0, 1] in ascending order")
    if wanted is not None:
        ok = until is None or len(until) == wanted
        require(ok, "until", until, f"null or {wanted} for {wanted + 1} modalities")


def waiting(order: list[str], until: tuple[float, ...] | None, epoch: int, epochs: int) -> tuple[Group, ...]:
    """Return the encoders that wait in `epoch`: the first of `order` never does, one more joins at each of `until`."""
    count = len(order) - 1
    shares = [0.5 * (i + 1) / count for i in range(count)] if until is None else until
    joined = 1 + sum(epoch >= share * epochs for share in shares)
    return tuple(("encoder", name) for name in order[joined:])


ENTRY = Smp
