"""Macro-F1: the mean F1 over classes."""

import numpy as np
import numpy.typing as npt

from bss.metrics.base import SplitMetric
from bss.metrics.inputs import Predictions


def macro_f1(labels: npt.NDArray[np.int64], scores: npt.NDArray[np.float32], predicted_too: bool = False) -> float:
    """Return the mean F1 over the classes that occur in `labels` [n]; `scores` are [n, classes].

    With `predicted_too` the mean includes the classes that are only predicted, whose F1 is 0.
    """
    from sklearn.metrics import f1_score

    predicted = scores.argmax(axis=1)
    counted = np.union1d(labels, predicted) if predicted_too else np.unique(labels)
    return float(f1_score(labels, predicted, labels=counted, average="macro", zero_division=0.0))


def _compute(predictions: Predictions) -> float:
    predicted_too = predictions.options.f1_over == "present-or-predicted"
    return macro_f1(predictions.labels, predictions.logits, predicted_too)


METRIC = SplitMetric(
    name="f1_macro",
    label="macro-F1",
    compute=_compute,
    order=20,
    plotted=False,
)
