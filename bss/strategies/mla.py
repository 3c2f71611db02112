"""MLA (Multimodal Representation Learning by Alternating Unimodal Adaptation, CVPR 2024)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from bss.balance.checks import require
from bss.lazy_torch import torch
from bss.strategies.base import Strategy
from bss.strategies.draw import Draw
from bss.strategies.hooks import Context, Gradients, Group, Prediction, Seen, Setting, State, Turn, Weights


@dataclass(frozen=True)
class Mla(Strategy):
    """Each batch trains one modality after the other through a head that they share, each with an update of its own.

    There is no fused loss. An epoch costs what plain training does, with as many updates per batch as modalities.
    """

    kind: Literal["mla"] = "mla"
    control = "weights.fused=0.0"
    order: tuple[str, ...] | None = None
    """All modalities in the order of their turns; null: that of network.encoders."""
    projection: Literal["none", "paper"] = "none"
    """paper: the shared layer's gradient is projected away from the mean features of the turns before. none: what
    was published ran without, because the public code looks for a parameter that does not exist."""
    fusion: Literal["dynamic", "sum"] = "dynamic"
    """How the heads make the prediction: dynamic weighs a head more for samples on which its entropy is lower."""

    def check(self, setting: Setting) -> None:
        """Require every modality once."""
        ok = self.order is None or sorted(self.order) == sorted(setting.modalities)
        require(ok, "order", self.order, f"null or all of {list(setting.modalities)}")

    def weights(self, setting: Setting) -> Weights:
        """Return that the heads are trained alone."""
        return Weights(None, dict.fromkeys(setting.modalities, 1.0))

    def prediction(self, setting: Setting) -> Prediction:
        """Return which logits `fusion` takes."""
        return "by-entropy" if self.fusion == "dynamic" else "unimodal-heads"

    def network(self, setting: Setting) -> Mapping[str, Any]:
        """Return that the heads share their layer."""
        return {"heads": {"shared": True, "hidden": None, "branches": 1}}

    def start(self, setting: Setting, modules: Mapping[Group, torch.nn.Module], classes: int) -> State:
        """Return the projection, which starts as the identity, and that no turn has been taken."""
        if self.projection == "none":
            return {}
        head: Any = modules["head", setting.modalities[0]]
        return {"projection": torch.eye(head.last.in_features), "before": None}

    def turns(self, context: Context) -> tuple[Turn, ...]:
        """Return a turn per modality, of its encoder and its head."""
        order = self.order or context.setting.modalities
        return tuple(Turn((name,), (("encoder", name), ("head", name))) for name in order)

    def phase(self, context: Context) -> Any:
        """Return whether there is a turn before to project away from."""
        return context.state.get("before") is None

    def gather(self, context: Context, seen: Seen) -> torch.Tensor | None:
        """Return the sum of the features of the turn's modality and their number, if gradients are projected."""
        if self.projection == "none":
            return None
        (features,) = seen.features.values()
        return torch.cat([features.sum(dim=0), torch.ones_like(features[:, 0]).sum()[None]])

    def after(self, context: Context, gathered: torch.Tensor | None, gradients: Gradients, draw: Draw) -> None:
        """Project the gradient of the shared layer away from the mean inputs that it had in the turns before."""
        if gathered is None or context.turn is None:
            return
        head: Any = gradients.modules["head", context.turn.encoders[0]]
        state = context.state
        if state["before"] is not None:
            state["projection"] = without(state["projection"], state["before"], 0.1 ** (1 + context.progress))
            head.last.weight.grad.copy_(head.last.weight.grad @ state["projection"].T)
        state["before"] = head.branches[0](gathered[:-1] / gathered[-1])


def without(projection: torch.Tensor, direction: torch.Tensor, damping: float) -> torch.Tensor:
    """Return `projection` [width, width] with less of `direction` [width] (recursive least squares)."""
    image = projection @ direction
    return projection - torch.outer(image, image) / (damping + direction @ image)


ENTRY = Mla
