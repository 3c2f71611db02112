"""Kinds of metrics of how the modalities differ in a trained network, in metrics.json if imbalance is measured."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bss.metrics.base import Input, Metric


@dataclass(frozen=True)
class Probed:
    """What linear classifiers of single modalities, fitted on the frozen features of train, do on a split."""

    accuracy: dict[str, float]
    """Accuracy by modality, in [0, 1]."""


@dataclass(frozen=True)
class Contributed:
    """What each modality contributes to the prediction of each training sample."""

    contributions: dict[str, npt.NDArray[np.float64]]
    """Contributions by modality, [n]; see `bss.strategies.shares.sample_contributions`."""


@dataclass(frozen=True, kw_only=True)
class FinalMetric(Metric[Input]):
    """Metric of the network of the selected epoch."""

    dvc: bool = False
    plotted: bool = False

    @property
    def in_every_epoch(self) -> bool:
        """Whether every row of history.csv has it: none has."""
        return False

    def column(self, split: str) -> str:
        """Return ``imbalance/<name>``."""
        return f"imbalance/{self.name}"


class ContributionMetric(FinalMetric[Contributed]):
    """Metric of the contributions to the training samples."""


class ProbeMetric(FinalMetric[Probed]):
    """Metric of the linear probes on a split."""

    def column(self, split: str) -> str:
        """Return ``imbalance/<name>`` on test, ``imbalance/val_<name>`` on val."""
        return super().column(split) if split == "test" else f"imbalance/{split}_{self.name}"
