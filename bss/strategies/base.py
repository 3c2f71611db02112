"""Strategy: the hooks by which a method changes the loss, the gradients, the features or the schedule of learning.

A strategy holds parameters only, as a frozen dataclass that is also its entry in params.yaml. What changes while a
network trains is in `Context.state`. No hook may wait for the device in a step: coefficients stay tensors.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from bss.lazy_torch import torch
from bss.strategies.draw import Draw

State = dict[str, Any]
"""Tensors, plain values, and dicts and lists of them; the same on all ranks after each step."""

Group = tuple[Literal["encoder", "head", "fusion"], str]
"""Which parameters: the encoder or the head of a modality, or the fusion head, whose second part is empty."""
FUSION: Group = ("fusion", "")

Split = Literal["train", "val", "teachers"]
"""Whose facts a strategy may plan by; teachers: those of the teachers' heads on train."""
Prediction = Literal["all-heads", "unimodal-heads", "fused", "by-entropy", "evidence", "surest"]


@dataclass(frozen=True)
class Setting:
    """What is known of a training before it starts."""

    modalities: tuple[str, ...]
    fusion: str
    """Kind of the fusion."""
    optimiser: str
    epochs: int
    fused: float
    """Weight of the fused cross-entropy in network.loss_weights."""
    unimodal: float
    """Weight there of each head's."""
    ranks: int = 1
    compile: bool | str = False
    batch_size: int = 64
    label_smoothing: float = 0.0
    """That of `train.label_smoothing`."""


@dataclass(frozen=True)
class Weights:
    """Weights of the cross-entropies in the loss; one that is left out is not trained on at all."""

    fused: float | None
    unimodal: Mapping[str, float]
    """By modality."""


@dataclass(frozen=True)
class Facts:
    """Per-sample means over one split, in eval mode without augmentation, by modality: those of its head."""

    loss: dict[str, float]
    fused_loss: float
    accuracy: dict[str, float]
    confidence: dict[str, float]
    """Probability of the label."""
    purity: dict[str, float] = field(default_factory=dict)
    """Share of the samples whose label is the most frequent in their cluster of the modality's features, if the
    strategy is `clustered`."""


@dataclass(frozen=True)
class EpochPlan:
    """What holds for one epoch."""

    weights: Weights | None = None
    """None: the strategy's own."""
    rates: Mapping[str, float] = field(default_factory=dict)
    """Factor of the learning rate of a modality's encoder and head; 1 if left out."""
    frozen: tuple[Group, ...] = ()
    """Get no gradient, so that neither momentum nor weight decay moves them; their batch normalisation is in eval."""
    restarted: tuple[Group, ...] = ()
    """Whose state in the optimiser (momentum, moments) is dropped before the epoch."""


@dataclass(frozen=True)
class Turn:
    """One of several updates by the same batch, each with passes of its own over the parts of the batch."""

    encoders: tuple[str, ...]
    """Those that run. What a strategy sees then has these modalities alone, and `Seen.fused` is NaN unless they are
    all. Each modality belongs to one turn of a step or more; scores observe the first."""
    updates: tuple[Group, ...]
    """What learns. The rest gets no gradient, so that momentum and weight decay leave it alone, and is in eval."""


ALL = -1
"""Stands for all modalities where the number of one is asked."""


@dataclass(frozen=True)
class Arranged:
    """What an epoch shows instead of the schedule's sequence, whose order it keeps."""

    positions: npt.NDArray[np.int64]
    """Of samples in train, with copies, [k]."""
    kept: npt.NDArray[np.int64]
    """The number of the only modality that each shows, `ALL` for all of them, [k]."""


@dataclass
class Context:
    """What all hooks get."""

    setting: Setting
    state: State
    """Hooks change it in place."""
    epoch: int
    plan: EpochPlan
    weights: Weights
    """Of the loss, in this epoch."""
    total: Callable[[torch.Tensor], torch.Tensor]
    """Sums a tensor over the ranks, which must all call it. Not differentiable."""
    progress: float = 0.0
    """Share of the epoch's steps that are done, in [0, 1)."""
    turn: Turn | None = None
    """The one that is being taken, if `Strategy.turns` has any."""
    draw: Draw | None = None
    """In `objectives`: the draws of the part."""
    labels: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    """Of the samples of train, [n]."""


@dataclass(frozen=True)
class Taught:
    """What the teachers say of the same inputs as in `Seen`, without gradient; float32."""

    features: dict[str, torch.Tensor]
    """[batch, width] per modality."""
    logits: dict[str, torch.Tensor]
    """[batch, classes] per modality."""


@dataclass(frozen=True)
class Seen:
    """One part of a batch after the forward pass; float32, with this rank's samples."""

    features: dict[str, torch.Tensor]
    """What heads and fusion take, [batch, width] per modality."""
    logits: dict[str, torch.Tensor]
    """Unimodal, [batch, classes] per modality."""
    fused: torch.Tensor
    """[batch, classes]."""
    labels: torch.Tensor
    """int64 [batch]."""
    fuse: Callable[[Mapping[str, torch.Tensor]], torch.Tensor]
    """The fusion head: features to logits [batch, classes]."""
    targets: torch.Tensor | None = None
    """Probabilities [batch, classes] that take the place of the labels in the loss, from `mix`."""
    branches: Callable[[str, torch.Tensor], list[torch.Tensor]] | None = None
    """The logits [batch, classes] of each branch in use of a modality's head (network.heads), from its features."""
    taught: Taught | None = None
    """If the strategy is `taught`."""
    kept: torch.Tensor | None = None
    """Number of the only modality that a sample shows, `ALL` for all of them, int64 [batch]; None: all show all.
    Features of modalities that it does not show are zero."""
    ignored: torch.Tensor | None = None
    """Which modalities decisions about the data hide, bool [batch, modalities]; None: none. Their features and logits
    are zero."""
    positions: torch.Tensor | None = None
    """In train, int64 [batch], if the strategy is `placed`."""
    label_smoothing: float = 0.0
    """That of `train.label_smoothing`."""
    class_weights: torch.Tensor | None = None
    """Those of `train.class_weights`, float [classes]; None: all 1."""


@dataclass(frozen=True)
class Mixed:
    """What takes the place of the features."""

    features: dict[str, torch.Tensor]
    heads: bool
    """Whether the heads take them too, or the fusion head alone."""
    targets: torch.Tensor | None = None
    """Probabilities [batch, classes] in place of the labels; None keeps those."""
    ignored: torch.Tensor | None = None
    """With `heads`: of which modalities the logits are zero, bool [batch, modalities]; None: as in `Seen`."""


@dataclass(frozen=True)
class Hidden:
    """What a strategy takes from samples of train in an epoch, k cases."""

    positions: npt.NDArray[np.int64]
    """In train, [k]."""
    modality: npt.NDArray[np.int64]
    """The number of the one that is hidden, `ALL` if the sample has no loss, [k]."""
    probability: npt.NDArray[np.float64]
    """That this is what is wrong with the sample, [k]."""


@dataclass(frozen=True)
class Objective:
    """A loss and what it trains."""

    loss: torch.Tensor
    """[batch]; its mean over the global batch is minimised."""
    updates: tuple[Group, ...] | None = None
    """The groups whose gradient it adds to; None: all."""
    apart: bool = False
    """True keeps its gradient in `Gradients.apart`, for `after` to use, and adds it to no other."""


@dataclass(frozen=True)
class Gradients:
    """The gradients of a step, averaged over the ranks, to be changed in place."""

    modules: Mapping[Group, torch.nn.Module]
    apart: tuple[Mapping[Group, list[torch.Tensor]], ...] = ()
    """Those of the objectives that are apart, in order; per group one tensor per parameter that is trained."""

    def of(self, group: Group) -> list[torch.Tensor]:
        """Return the gradients of a group's parameters; one that has none is left out."""
        return [p.grad for p in self.modules[group].parameters() if p.grad is not None]


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
        """Whether its encoders begin as those of teachers, the ones that `taught` describes."""
        return False

    @property
    def needs_teachers(self) -> bool:
        """Whether teachers are trained before it."""
        return self.taught or self.pretrained

    def takes_targets(self) -> bool:
        """Return whether smoothed labels and class weights reach its loss: all cross-entropies are `weighted_loss`."""
        return self.plain or self.weighted or type(self).objectives is Strategy.objectives

    def check(self, setting: Setting) -> None:  # noqa: B027
        """Raise ``ValueError`` with `require` if the strategy does not go with `setting`."""

    def weights(self, setting: Setting) -> Weights:
        """Return the weights of the loss where no plan gives others."""
        return Weights(setting.fused, dict.fromkeys(setting.modalities, setting.unimodal))

    def total_epochs(self, configured: int) -> int:
        """Return the number of epochs, given train.epochs."""
        return configured

    def warning(self, setting: Setting) -> str | None:
        """Return why the strategy does next to nothing with `setting`, None if it is not known to."""
        return None

    def prediction(self, setting: Setting) -> Prediction | None:
        """Return which logits make the prediction; None: those of network.prediction.

        Logits that are not trained take no part.
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

    def plan(self, context: Context, facts: Mapping[str, Facts], modules: Mapping[Group, torch.nn.Module]) -> EpochPlan:
        """Return what holds for the epoch, given the facts of each of `splits` if it `reads` them, else none.

        Called once before each epoch; weights in `modules` may be changed in place.
        """
        return EpochPlan()

    def turns(self, context: Context) -> tuple[Turn, ...]:
        """Return the turns of a step, in order; none: one pass over everything, and one update.

        It is called in each step. `mix`, `objectives`, `gather` and `after` are called in each turn as in a step.
        """
        return ()

    def phase(self, context: Context) -> Any:
        """Return a hashable value that changes when the steps' operations do for another reason than in `steady`."""
        return None if self.steady else context.epoch

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
        self,
        context: Context,
        sequence: npt.NDArray[np.int64],
        measured: npt.NDArray[np.float64] | None,
        random: np.random.Generator,
    ) -> Arranged | None:
        """Return what the epoch shows instead of the schedule's `sequence` of positions in train; None: just that.

        Called after `plan`; `measured` [n, k] is of all samples of train, NaN for those that were not observed, None if
        it neither `measures` now nor `observes`.
        """
        return None

    def hides(self, context: Context) -> Hidden | None:
        """Return what the epoch hides of which samples, to be recorded; called after `arrange`."""
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
    """product: the weights of network.loss_weights; published: those of the paper."""

    published: ClassVar[tuple[float | None, float | None]] = (1.0, None)
    """The paper's weights of the fused cross-entropy and of each head's."""

    def weights(self, setting: Setting) -> Weights:
        """Return the weights that `loss` says."""
        if self.loss == "product":
            return super().weights(setting)
        fused, unimodal = self.published
        return Weights(fused, {} if unimodal is None else dict.fromkeys(setting.modalities, unimodal))


def weighted_loss(seen: Seen, weights: Weights, label_smoothing: float = 0.0) -> torch.Tensor:
    """Return the weighted sum of the cross-entropies of `seen`, float [batch]; smoothing of 0 is that of `seen`."""
    targets = seen.labels if seen.targets is None else seen.targets
    smoothing = label_smoothing or seen.label_smoothing

    def entropy(logits: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(
            logits, targets, seen.class_weights, reduction="none", label_smoothing=smoothing
        )

    fused = None if weights.fused is None else weights.fused * entropy(seen.fused)
    if not weights.unimodal:
        assert fused is not None
        return fused
    losses = {name: entropy(logits) for name, logits in seen.logits.items() if name in weights.unimodal}
    if len(set(weights.unimodal.values())) == 1:  # the operations of `training_loss`, to the bit
        unimodal = next(iter(weights.unimodal.values())) * torch.stack(list(losses.values())).sum(dim=0)
    else:
        unimodal = torch.stack([weights.unimodal[name] * loss for name, loss in losses.items()]).sum(dim=0)
    return unimodal if fused is None else fused + unimodal


def one_hot(labels: torch.Tensor, classes: int) -> torch.Tensor:
    """Return `labels` int64 [batch] as float32 [batch, classes]; torch's own would wait for the device."""
    return (labels[:, None] == torch.arange(classes, device=labels.device)).to(torch.float32)
