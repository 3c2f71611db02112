"""What training aims at besides the labels: smoothed labels and classes that weigh more than others."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bss.config.training import TrainConfig
from bss.data.store import Store
from bss.errors import BssError


@dataclass(frozen=True)
class Targets:
    """How the training loss differs from the configured cross-entropies, which scores and metrics keep."""

    label_smoothing: float = 0.0
    """Share of each target that is spread over all classes, in [0, 1)."""
    class_weights: Tensor | None = None
    """Factor of the loss of each class's samples, float32 [classes]; None: 1."""


PLAIN = Targets()


def targets_for(train: TrainConfig, store: Store, device: torch.device | None = None) -> Targets:
    """Return the targets of `train`; raises `BssError` if it weighs a class that `store` does not have."""
    asked = train.class_weights
    if asked is None:
        return Targets(train.label_smoothing)
    if isinstance(asked, dict):
        _require_known(asked, store)
        weights = np.array([asked.get(name, 1.0) for name in store.classes])
    else:
        weights = balanced_weights(store.labels[store.rows("train")], len(store.classes))
    return Targets(train.label_smoothing, torch.tensor(weights, dtype=torch.float32, device=device))


def balanced_weights(labels: npt.NDArray[np.int64], classes: int) -> npt.NDArray[np.float64]:
    """Return n / (classes that occur x samples of the class), as scikit-learn does, [classes]; 1 if none has it.

    Their mean over the samples `labels` [n] is 1.
    """
    counts = np.bincount(labels, minlength=classes)
    return np.where(counts > 0, len(labels) / ((counts > 0).sum() * np.maximum(counts, 1)), 1.0)


def _require_known(asked: dict[str, float], store: Store) -> None:
    unknown = [name for name in asked if name not in store.classes]
    if unknown:
        raise BssError(
            f"params.yaml: train.class_weights: {', '.join(unknown)} is not a class of {store.path}; its classes: "
            f"{', '.join(store.classes[:20])}{' ...' if len(store.classes) > 20 else ''}."
        )
