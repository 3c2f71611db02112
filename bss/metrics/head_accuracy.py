"""Accuracy of each modality's head alone."""

from bss.metrics.accuracy import accuracy
from bss.metrics.base import Reading, SplitMetric
from bss.metrics.inputs import Predictions


def _compute(predictions: Predictions) -> dict[str, float]:
    return {name: accuracy(logits, predictions.labels) for name, logits in predictions.heads.items()}


METRIC = SplitMetric(
    name="acc_{modality}",
    label="{modality}",
    compute=_compute,
    order=40,
    plotted=False,  # the report has a plot of it beside the accuracy of all modalities together
    reading=Reading(
        "accuracy of the head",
        "How often the modality's own head is right, over all epochs. It measures the head as much as the encoder.",
    ),
)
