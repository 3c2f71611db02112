"""Which of a run's values are columns in MLflow: few, the useful ones; its artifacts hold all of them."""

import functools
import re
from collections.abc import Mapping
from typing import Any

from bss.config import flatten
from bss.metrics.base import MODALITY, Metric, SplitMetric
from bss.metrics.find import metrics_of

PARAMETERS = (
    *("seeds", "train.epochs", "train.batch_size", "train.optimiser.learning_rate"),
    *("scheduler.kind", "scheduler.beta", "strategy.kind", "strategy.alpha"),
)
"""Parameters that are columns; params.json of the parent and provenance.json of a trial have all."""


def shown_parameters(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of `tree` that become columns, by their flattened names."""
    flat = flatten(tree)
    return {name: flat[name] for name in PARAMETERS if name in flat}


def shown_series(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a row of history.csv that become metrics in MLflow, by column."""
    return {column: value for column, value in row.items() if column != "epoch" and not _left_out(column)}


@functools.cache
def _left_out(column: str) -> bool:
    patterns = (
        ".+".join(re.escape(part) for part in metric.column(split).split(MODALITY))
        for metric in metrics_of(Metric)
        if not metric.mlflow
        for split in ("val", "test")
    )
    return any(re.fullmatch(pattern, column) for pattern in patterns)


def final_values(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of metrics.json that MLflow shows.

    That is ``test_<name>`` of each metric, ``val_acc``, linear probes, numbers of parameters, and the cost
    ``flops``, teachers included.
    """
    names = [metric.name for metric in metrics_of(SplitMetric) if metric.mlflow and not metric.per_modality]
    found = {f"test_{name}": metrics[f"test/{name}"] for name in names if f"test/{name}" in metrics}
    found |= {key: value for key, value in metrics.items() if key.startswith("imbalance/") and not _left_out(key)}
    found |= {key: value for key, value in metrics.items() if key.startswith(("parameters/", "parameters_trained/"))}
    return found | {name: metrics[key] for name, key in (("val_acc", "val/acc"), ("flops", "flops")) if key in metrics}
