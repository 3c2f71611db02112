"""What the hooks of a strategy take and return."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

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
"""Whose facts `plan` may use; teachers: those of the teachers' heads on train."""
PROBED = "probed "
"""Prefix of a split's name: its facts after probe runs."""
Prediction = Literal["all-heads", "unimodal-heads", "fused", "by-entropy", "evidence", "surest"]


@dataclass(frozen=True)
class Setting:
    """Facts about a trial that are known before it starts."""

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
    accumulate: int = 1
    """Parts of a batch."""
    prediction: Prediction = "all-heads"
    """network.prediction."""


@dataclass(frozen=True)
class Onset:
    """When a strategy begins to act."""

    epoch: float
    """The first one in which it can, from 0; infinity: none, however long the training."""
    parameter: str = ""
    """The one of the strategy that says so."""


FIRST = Onset(0)
"""It acts from the first epoch on."""


@dataclass(frozen=True)
class Weights:
    """Weights of the cross-entropies in the loss; one that is left out is not trained on at all."""

    fused: float | None
    unimodal: Mapping[str, float]
    """Weights of the unimodal cross-entropies, by modality."""


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
    sums: dict[str, torch.Tensor] = field(default_factory=dict)
    """Sum of the features per class, float32 [classes, width], if the strategy is `averaging`."""
    counts: torch.Tensor | None = None
    """Number of samples per class, float32 [classes], if the strategy is `averaging`."""


@dataclass(frozen=True)
class EpochPlan:
    """What holds for one epoch."""

    weights: Weights | None = None
    """None: the strategy's own."""
    rates: Mapping[str, float] = field(default_factory=dict)
    """Factor of the learning rate of a modality's encoder and head; 1 if left out."""
    frozen: tuple[Group, ...] = ()
    """Groups without gradient: neither momentum nor weight decay moves them; batch normalisation is in eval mode."""
    restarted: tuple[Group, ...] = ()
    """Groups whose optimiser state (momentum, moments) is reset before the epoch."""


@dataclass(frozen=True)
class Turn:
    """One of several updates on the same batch, each with its own passes over the parts of the batch."""

    encoders: tuple[str, ...]
    """Encoders that run. The strategy then only sees these modalities, and `Seen.fused` is NaN unless they are all.
    Each modality belongs to at least one turn of a step; scores observe the first."""
    updates: tuple[Group, ...]
    """Groups that learn. The rest is in eval mode and gets no gradient, so momentum and weight decay do not move it."""


ALL = -1
"""Stands in for a modality's number: all modalities."""


@dataclass(frozen=True)
class Arranged:
    """What an epoch shows instead of the schedule's sequence, whose order it keeps."""

    positions: npt.NDArray[np.int64]
    """Positions of samples in train, with copies, [k]."""
    kept: npt.NDArray[np.int64]
    """The number of the only modality that each shows, `ALL` for all of them, [k]."""


@dataclass
class Context:
    """Argument of all hooks."""

    setting: Setting
    state: State
    """Hooks change it in place."""
    epoch: int
    plan: EpochPlan
    weights: Weights
    """Weights of the loss in this epoch."""
    total: Callable[[torch.Tensor], torch.Tensor]
    """Sums a tensor over the ranks, which must all call it. Not differentiable."""
    progress: float = 0.0
    """Share of the epoch's steps that are done, in [0, 1)."""
    turn: Turn | None = None
    """The current turn, if `Strategy.turns` has any."""
    draw: Draw | None = None
    """Random draws of the part, in `objectives`."""
    labels: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    """Labels of train, [n]."""


@dataclass(frozen=True)
class Taught:
    """Outputs of the teachers for the same inputs as in `Seen`, without gradient; float32."""

    features: dict[str, torch.Tensor]
    """[batch, width] per modality."""
    logits: dict[str, torch.Tensor]
    """[batch, classes] per modality."""


@dataclass(frozen=True)
class Seen:
    """One part of a batch after the forward pass; float32, with this rank's samples."""

    features: dict[str, torch.Tensor]
    """Inputs of heads and fusion, [batch, width] per modality."""
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
    """Positions in train, int64 [batch], if the strategy is `placed`."""
    label_smoothing: float = 0.0
    """`train.label_smoothing`."""
    class_weights: torch.Tensor | None = None
    """`train.class_weights`, float [classes]; None: all 1."""
    inputs: Mapping[str, torch.Tensor] = field(default_factory=dict)
    """What the encoders took, [batch, ...] per modality, in a step."""
    encode: Callable[[Mapping[str, torch.Tensor]], dict[str, torch.Tensor]] | None = None
    """Another pass of the encoders, in eval mode, in a step: inputs to features, zero where they are `ignored`. Its
    operations count like any other."""


@dataclass(frozen=True)
class Mixed:
    """Replacement of the features."""

    features: dict[str, torch.Tensor]
    heads: bool
    """Whether the heads take them too, or the fusion head alone."""
    targets: torch.Tensor | None = None
    """Probabilities [batch, classes] in place of the labels; None keeps those."""
    ignored: torch.Tensor | None = None
    """Modalities whose logits are zero, with `heads`, bool [batch, modalities]; None: as in `Seen`."""


@dataclass(frozen=True)
class Hidden:
    """What a strategy takes from samples of train in an epoch, k cases."""

    positions: npt.NDArray[np.int64]
    """Positions in train, [k]."""
    modality: npt.NDArray[np.int64]
    """The number of the one that is hidden, `ALL` if the sample has no loss, [k]."""
    probability: npt.NDArray[np.float64]
    """Probability that this is what is wrong with the sample, [k]."""


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
    """Gradients of the objectives that are apart, in order; per group one tensor per trained parameter."""

    def of(self, group: Group) -> list[torch.Tensor]:
        """Return the gradients of a group's parameters; one that has none is left out."""
        return [p.grad for p in self.modules[group].parameters() if p.grad is not None]
