"""What metrics are computed from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from bss.config.schema import EvaluationConfig
from bss.lazy_torch import torch
from bss.strategies.shares import fuse_part


@dataclass(frozen=True)
class Task:
    """What a network learns, by which a metric decides whether it applies."""

    classes: int
    modalities: tuple[str, ...]


@dataclass(frozen=True)
class Predictions:
    """A network's predictions for the n samples of a split."""

    logits: npt.NDArray[np.float32]
    """Summed logits, whose argmax is the prediction, [n, classes]."""
    heads: dict[str, npt.NDArray[np.float32]]
    """Logits of each modality's head, [n, classes]."""
    labels: npt.NDArray[np.int64]
    """[n], in 0 .. classes - 1."""
    options: EvaluationConfig = field(default_factory=EvaluationConfig)
    """The section `evaluation` of params.yaml."""


@dataclass(frozen=True)
class Trained:
    """What training records of an epoch."""

    learning_rate: float
    """Learning rate of the last step."""
    loss: float
    """Mean over the samples."""
    fraction: float
    """Share of the admitted samples that the scheduler opens, in (0, 1]."""
    samples: int
    steps: int
    flops: int | None = None
    """Floating-point operations of the steps and of passes for schedulers and strategies, over all ranks; without those
    of teachers, which were trained before."""
    hidden: float | None = None
    """Share of the training samples in which the strategy hides something; None for strategies that never do."""


@dataclass(frozen=True)
class Balance:
    """How balanced the modalities are after an epoch."""

    accuracies: dict[str, float]
    """Accuracy of each head on the watched split (val, or test if there is no val), in [0, 1]."""
    scores: npt.NDArray[np.float64] | None
    """Balance scores of the training samples that were in force; None if the scheduler needs none."""


@dataclass(frozen=True)
class HeadLosses:
    """How the heads do on samples, the means by modality."""

    loss: dict[str, float]
    """Cross-entropy."""
    confidence: dict[str, float]
    """Probability of the label."""


@dataclass(frozen=True)
class Imbalance:
    """How the modalities differ after an epoch, in eval mode on up to n evenly spaced samples of the watched split."""

    features: dict[str, torch.Tensor]
    """What heads and fusion take, float32 [n, width] per modality."""
    labels: torch.Tensor
    """int64 [n]."""
    fuse: Callable[[Mapping[str, torch.Tensor]], torch.Tensor]
    """The fusion head, or the heads together if they alone predict: features to logits [n, classes]."""
    watched: HeadLosses
    train: HeadLosses
    """On as many samples of train, without augmentation."""
    before: tuple[HeadLosses, HeadLosses] | None
    """Train and watched at the measurement before; None at the first."""
    gradient_norms: dict[str, float]
    """Norm per encoder of the configured loss's gradient, on one batch of train, averaged over its samples."""
    random: np.random.Generator
    _fused: dict[frozenset[str], torch.Tensor] = field(default_factory=dict)

    def fused(self, present: Iterable[str]) -> torch.Tensor:
        """Return the fused logits [n, classes] of some modalities, the features of all others being zero.

        Each part is computed once, however many metrics ask for it.
        """
        part = frozenset(present)
        if part not in self._fused:
            self._fused[part] = fuse_part(self.features, self.fuse, part)
        return self._fused[part]
