"""Mean average precision over classes."""

import numpy as np
import numpy.typing as npt
import torch

from bss.metrics.base import SplitMetric
from bss.metrics.inputs import Predictions


def mean_average_precision(
    labels: npt.NDArray[np.int64], scores: npt.NDArray[np.float32], all_classes: bool = False
) -> float:
    """Return the average precision of each class against the rest, the mean over those in `labels` [n].

    `scores` are logits [n, classes]; they are compared after a softmax, across samples of one class. With
    `all_classes` the mean is over all classes, and that of a class that does not occur is 0.
    """
    from sklearn.metrics import average_precision_score

    present = np.unique(labels)
    probabilities = torch.from_numpy(scores).double().softmax(dim=1).numpy()[:, present]
    truth = labels[:, None] == present[None]
    mean = float(average_precision_score(truth, probabilities, average="macro"))
    return mean * len(present) / scores.shape[1] if all_classes else mean


def _compute(predictions: Predictions) -> float:
    return mean_average_precision(predictions.labels, predictions.logits, predictions.options.map_over == "all")


METRIC = SplitMetric(
    name="map",
    label="mAP",
    compute=_compute,
    order=30,
    dvc=False,
    plotted=False,
    mlflow=False,
)
