"""Accuracy: the metric by which epochs are selected and schedulers compared."""

import numpy as np
import numpy.typing as npt

from bss.metrics.base import SplitMetric
from bss.metrics.inputs import Predictions


def accuracy(logits: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]) -> float:
    """Return the share of the samples whose greatest of `logits` [n, classes] is that of their label [n]."""
    return float((logits.argmax(axis=1) == labels).mean())


def _compute(predictions: Predictions) -> float:
    return accuracy(predictions.logits, predictions.labels)


METRIC = SplitMetric(
    name="acc",
    label="accuracy",
    compute=_compute,
    order=10,
    table=False,  # the tables have it with its differences
)
