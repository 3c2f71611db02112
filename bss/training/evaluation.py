"""The metrics of a network on one split."""

from typing import Literal

from bss.config.schema import EvaluationConfig
from bss.metrics.base import Number, SplitMetric
from bss.metrics.find import metrics_of
from bss.metrics.inputs import Predictions, Task
from bss.models.network import MultiModalNetwork
from bss.training.distributed.ranks import ALONE, Ranks
from bss.training.predicting import NONE, Read, predict_and_read
from bss.training.samples.split_data import Indices, SplitData


def evaluate(
    network: MultiModalNetwork,
    data: SplitData,
    split: str,
    ranks: Ranks = ALONE,
    options: EvaluationConfig | None = None,
) -> dict[str, Number | None]:
    """Return the metrics of `bss.metrics` that are of a split, as ``<split>/<name>``.

    `options` say over which classes some of them are averaged; None: those that occur. Raises `BssError` if a metric
    is not a finite number.
    """
    return evaluate_and_read(network, data, split, NONE, ranks, options)[0]


def evaluate_and_read(
    network: MultiModalNetwork,
    data: SplitData,
    split: str,
    chosen: Indices,
    ranks: Ranks = ALONE,
    options: EvaluationConfig | None = None,
    when: Literal["epoch", "end"] = "end",
) -> tuple[dict[str, Number | None], Read]:
    """Return the same, and what the pass read of the samples at the ascending positions `chosen`.

    At an "epoch" the metrics that are for the "end" of training alone are left out.
    """
    task = task_of(network)
    logits, heads, read = predict_and_read(network, data, chosen, ranks)
    predictions = Predictions(logits, heads, data.labels.cpu().numpy(), options or EvaluationConfig())
    values: dict[str, Number | None] = {}
    for metric in metrics_of(SplitMetric, task):
        if metric.per_epoch or when == "end":
            values |= metric.values(predictions, task.modalities, split)
    return values, read


def task_of(network: MultiModalNetwork) -> Task:
    """Return the task that `network` learns."""
    return Task(network.classes, tuple(network.heads))
