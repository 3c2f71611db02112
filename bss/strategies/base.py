"""Strategy: the hooks by which a method changes the loss, the gradients, the features or the schedule of learning.

A strategy holds parameters only, as a frozen dataclass that is also its entry in params.yaml. What changes while a
network trains is in `Context.state`. No hook may wait for the device in a step: coefficients stay tensors.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from bss.balance.sorting import Floats, Indices
from bss.lazy_torch import torch
from bss.strategies.draw import Draw
from bss.strategies.hooks import (
    PROBED,
    Arranged,
    Context,
    EpochPlan,
    Facts,
    Gradients,
    Group,
    Hidden,
    Mixed,
    Objective,
    Prediction,
    Seen,
    Setting,
    Split,
    State,
    Turn,
    Weights,
)
from bss.strategies.losses import weighted_loss


class Strategy(ABC):
    """Hooks whose defaults are training with the configured loss."""

    kind: str
    """The name of the strategy in params.yaml: ``Literal["name"] = "name"``."""
    splits: ClassVar[tuple[Split, ...]] = ()
    """Whose facts it plans by; never those of test."""
    control: ClassVar[str | None] = None
    """The simplest thing that could explain its gain, ``kind`` or ``kind.parameter=value``; None: plain training.

    Any strategy of that kind whose parameter differs from its default is such a control; the value is one to try.
    """
    plain: ClassVar[bool] = False
    """Whether its steps are those of plain training."""
    weighted: ClassVar[bool] = False
    """Whether `objectives`, if it has its own, takes every cross-entropy from `weighted_loss`, which smooths labels and
    weighs classes. If not, train.label_smoothing and train.class_weights are refused with the strategy."""
    placed: ClassVar[bool] = False
    """Whether it needs `Seen.positions`."""
    clustered: ClassVar[bool] = False
    """Whether it plans by the purity of clusters too."""
    steady: ClassVar[bool] = False
    """Whether all steps have the same operations as long as the plan's weights and frozen parts, what samples show, and
    the heads in use are the same. Then they are counted once; if not, in every epoch, unless `phase` says when."""
    taught: ClassVar[bool] = False
    """Whether it learns from teachers: the same encoders and heads, each modality's trained alone, with the same seed
    and for as many epochs, in eval mode."""

    @property
    def pretrained(self) -> bool:
        """Whether its encoders start from those of the teachers that `taught` describes."""
        return False

    @property
    def needs_val(self) -> bool:
        """Whether it cannot do without a val split."""
        return "val" in self.splits

    @property
    def averaging(self) -> bool:
        """Whether it plans by the features of each class too, as their sums and numbers."""
        return False

    @property
    def probe_length(self) -> int:
        """Epochs of the probe trainings whose facts it plans by, besides those of the network itself; 0: none."""
        return 0

    @property
    def needs_teachers(self) -> bool:
        """Whether teachers are trained before it."""
        return self.taught or self.pretrained

    def takes_targets(self) -> bool:
        """Return whether smoothed labels and class weights reach its loss: all cross-entropies are `weighted_loss`."""
        return self.plain or self.weighted or type(self).objectives is Strategy.objectives

    def check(self, setting: Setting) -> None:  # noqa: B027
        """Raise ``ValueError`` with `require` if the strategy does not support `setting`."""

    def weights(self, setting: Setting) -> Weights:
        """Return the weights of the loss if no plan gives others."""
        return Weights(setting.fused, dict.fromkeys(setting.modalities, setting.unimodal))

    def total_epochs(self, configured: int) -> int:
        """Return the number of epochs, given train.epochs."""
        return configured

    def warning(self, setting: Setting) -> str | None:
        """Return why the strategy does next to nothing with `setting`, None if it is not known to."""
        return None

    def prediction(self, setting: Setting) -> Prediction | None:
        """Return the logits that make the prediction; None: those of network.prediction.

        Untrained logits take no part.
        """
        weights = self.weights(setting)
        if not weights.unimodal:
            return "fused"
        return "unimodal-heads" if weights.fused is None else None

    def network(self, setting: Setting) -> Mapping[str, Any]:
        """Return what the method sets of the section network: keys to values, of `heads` to keys and values of it."""
        return {}

    def start(self, setting: Setting, modules: Mapping[Group, torch.nn.Module], classes: int) -> State:
        """Return the state before the first epoch; tensors are moved to the device of the training."""
        return {}

    def reads(self, context: Context) -> bool:
        """Return whether `plan` needs facts before the epoch of `context`: a pass over each of `splits`."""
        return bool(self.splits)

    def wanted(self, context: Context) -> tuple[str, ...]:
        """Return the keys of the facts that `plan` gets before the epoch of `context`: splits, also after probes."""
        splits: tuple[str, ...] = self.splits if self.reads(context) else ()
        return splits + tuple(PROBED + split for split in splits if self.probe_length)

    def plan(self, context: Context, facts: Mapping[str, Facts], modules: Mapping[Group, torch.nn.Module]) -> EpochPlan:
        """Return the plan of the epoch; `facts` are those of each of `splits`, empty unless it `reads` them.

        Called once before each epoch; weights in `modules` may be changed in place.
        """
        return EpochPlan()

    def adapts(self, context: Context) -> bool:
        """Return whether `adapt` is to be called before the epoch of `context`."""
        return False

    def adapt(
        self, context: Context, batches: Mapping[Split, Callable[[], Seen]], modules: Mapping[Group, torch.nn.Module]
    ) -> None:
        """Change the state by a drawn batch of train and one of val. Called after `plan`.

        `batches` see them in eval mode without augmentation, with gradients, by the weights that are in `modules` at
        that time; those must be the same before and after.
        """
        raise NotImplementedError

    def turns(self, context: Context) -> tuple[Turn, ...]:
        """Return the turns of a step, in order; none: one pass over everything, and one update.

        It is called in each step. `mix`, `objectives`, `gather` and `after` are called in each turn as in a step.
        """
        return ()

    def phase(self, context: Context) -> Any:
        """Return a hashable value that changes when the steps' operations do for another reason than in `steady`."""
        return None if self.steady else context.epoch

    def outcomes(self) -> list[tuple[float, Strategy]]:
        """Return the strategies that a step may turn out to be by what the host draws, with their probabilities.

        All steps of each have the same operations; an epoch counts the expectation.
        """
        return [(1.0, self)]

    def measures(self, context: Context) -> bool:
        """Return whether `arrange` needs what `measure` says before the epoch of `context`: a pass over train."""
        return False

    def observes(self, setting: Setting, classes: int) -> int:
        """Return k if `arrange` needs what `measure` says of samples as the epoch before trained on them; 0: no need.

        That is before the update by their batch, and costs no pass.
        """
        return 0

    def measure(self, context: Context, seen: Seen) -> torch.Tensor:
        """Return values of samples, float [batch, k].

        They are seen in eval mode without augmentation if the strategy `measures`, in training if it `observes`.
        """
        raise NotImplementedError

    def arrange(
        self, context: Context, sequence: Indices, measured: Floats | None, random: np.random.Generator
    ) -> Arranged | None:
        """Return what the epoch shows instead of the schedule's `sequence` of positions in train; None: just that.

        Called after `plan`; `measured` [n, k] is of all samples of train, NaN for those that were not observed, None if
        it neither `measures` now nor `observes`.
        """
        return None

    def hides(self, context: Context) -> Hidden | None:
        """Return what the epoch hides from samples, to be recorded; called after `arrange`."""
        return None

    def mix(self, context: Context, seen: Seen, draw: Draw) -> Mixed | None:
        """Return features in place of those seen, or None; scores observe the features as they were."""
        return None

    def objectives(self, context: Context, seen: Seen) -> list[Objective]:
        """Return the losses of one part of a batch, after `mix`."""
        return [Objective(weighted_loss(seen, context.weights))]

    def gather(self, context: Context, seen: Seen) -> torch.Tensor | None:
        """Return sums [k] over the samples seen, without gradient, which `after` gets summed over parts and ranks.

        The features are those before `mix`.
        """
        return None

    def after(  # noqa: B027
        self, context: Context, gathered: torch.Tensor | None, gradients: Gradients, draw: Draw
    ) -> None:
        """Change the gradients of a step in place, before the optimiser takes them."""


@dataclass(frozen=True)
class Method(Strategy):
    """A published method, trained with its own loss weights or with those of params.yaml."""

    loss: Literal["product", "published"] = "product"
    """product: the weights of network.loss_weights; published: those of the paper, predicting by the fused logits."""

    published: ClassVar[tuple[float | None, float | None]] = (1.0, None)
    """The paper's weights of the fused cross-entropy and of each head's."""

    def weights(self, setting: Setting) -> Weights:
        """Return the weights that `loss` says."""
        if self.loss == "product":
            return super().weights(setting)
        fused, unimodal = self.published
        return Weights(fused, {} if unimodal is None else dict.fromkeys(setting.modalities, unimodal))

    def prediction(self, setting: Setting) -> Prediction | None:
        """Return the fused logits, which the papers score, if `loss` is published."""
        return "fused" if self.loss == "published" else super().prediction(setting)
