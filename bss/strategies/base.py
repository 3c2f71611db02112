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
    FIRST,
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
    Onset,
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
    """Splits whose statistics `plan` uses; never test."""
    control: ClassVar[str | None] = None
    """Simplest explanation of its gain, ``kind`` or ``kind.parameter=value``; None: plain training.

    The value is a number. `bss.report.controls.trained_controls` says which trained strategy takes the part.
    """
    plain: ClassVar[bool] = False
    """Whether its steps are those of plain training."""
    weighted: ClassVar[bool] = False
    """Whether `objectives`, if it has its own, takes every cross-entropy from `weighted_loss`, which smooths labels and
    weighs classes. If not, train.label_smoothing and train.class_weights are refused with the strategy."""
    placed: ClassVar[bool] = False
    """Whether it needs `Seen.positions`."""
    clustered: ClassVar[bool] = False
    """Whether `plan` also needs the purity of clusters."""
    steady: ClassVar[bool] = False
    """Whether all steps have the same operations as long as the plan's weights and frozen parts, what samples show, and
    the heads in use are the same. Then they are counted once; if not, in every epoch, unless `phase` says when."""
    taught: ClassVar[bool] = False
    """Whether it learns from teachers: unimodal networks with the same encoders and heads, trained with the same seed
    for as many epochs, in eval mode."""

    @property
    def pretrained(self) -> bool:
        """Whether its encoders start from those of teachers as described at `taught`."""
        return False

    @property
    def needs_val(self) -> bool:
        """Whether it needs a val split."""
        return "val" in self.splits

    @property
    def needs_heads(self) -> bool:
        """Whether it cannot do without unimodal heads that its loss trains."""
        return False

    @property
    def one_width(self) -> bool:
        """Whether it compares features of different modalities, so that all need the same width."""
        return False

    @property
    def averaging(self) -> float:
        """Share of a split that is read, in (0, 1], if `plan` also needs the sums of features of each class; 0: none.

        Without them all of the split is read.
        """
        return 0.0

    @property
    def probe_length(self) -> int:
        """Epochs of the probe runs whose facts `plan` gets besides those of the network itself; 0: no probes."""
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

    def trains_heads(self, setting: Setting) -> bool:
        """Return whether its loss trains the unimodal heads of all modalities; a weight of 0 trains nothing."""
        weights = self.weights(setting).unimodal
        return all(weights.get(name, 0.0) > 0 for name in setting.modalities)

    def total_epochs(self, configured: int) -> int:
        """Return the number of epochs, given train.epochs."""
        return configured

    def onset(self, setting: Setting) -> Onset:
        """Return when it can first do what training without it would not; parameters that make it neutral aside."""
        return FIRST

    def warning(self, setting: Setting) -> str | None:
        """Return why the strategy has hardly any effect with `setting`; None if no reason is known."""
        return None

    def prediction(self, setting: Setting) -> Prediction | None:
        """Return the logits that make the prediction; None: those of network.prediction.

        Untrained logits take no part.
        """
        weights = self.weights(setting)
        if not any(weights.unimodal.values()):
            return "fused"
        reads_fused = setting.prediction not in ("unimodal-heads", "by-entropy")
        return "unimodal-heads" if reads_fused and not weights.fused else None

    def network(self, setting: Setting) -> Mapping[str, Any]:
        """Return the keys of the section network that the method sets, with their values; `heads` maps to a dict."""
        return {}

    def start(self, setting: Setting, modules: Mapping[Group, torch.nn.Module], classes: int) -> State:
        """Return the state before the first epoch; tensors are moved to the trial's device."""
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
        """Return whether to call `adapt` before the epoch of `context`."""
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
        """Return the variants of the strategy between which the host's random draws choose, with their probabilities.

        All steps of a variant have the same operations; an epoch counts their expectation.
        """
        return [(1.0, self)]

    def measures(self, context: Context) -> bool:
        """Return whether `arrange` needs the values of `measure` before the epoch of `context`: a pass over train."""
        return False

    def observes(self, setting: Setting, classes: int) -> int:
        """Return k if `arrange` needs the values of `measure` as the previous epoch trained on the samples; else 0.

        They are taken before the update on the sample's batch and cost no extra pass.
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
        """Return what the epoch shows instead of the schedule's `sequence` of positions in train; None keeps it.

        Called after `plan`; `measured` [n, k] is of all samples of train, NaN for those that were not observed, None if
        it neither `measures` now nor `observes`.
        """
        return None

    def hides(self, context: Context) -> Hidden | None:
        """Return what the epoch hides from samples, for the records; called after `arrange`."""
        return None

    def mix(self, context: Context, seen: Seen, draw: Draw) -> Mixed | None:
        """Return features that replace those seen, or None; scores observe the original features."""
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
        """Return the fused logits, which the papers score, if `loss` is published and trains them."""
        trained = self.loss == "published" and self.published[0] is not None
        return "fused" if trained else super().prediction(setting)
