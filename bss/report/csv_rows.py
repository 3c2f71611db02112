"""The comparison as CSV files, for DVC's plots and for spreadsheets."""

from math import isnan
from typing import Any

import numpy as np

from bss.metrics.base import EpochMetric, SplitMetric
from bss.metrics.find import metrics_of
from bss.metrics.inputs import Task
from bss.report.comparison import ROLES, Comparison, Results
from bss.report.results import by_seed


def curve_rows(results: Results, protocol: str, task: Task) -> list[dict[str, Any]]:
    """Return a row per scheduler and epoch: the means over seeds, with the steps taken so far.

    Metrics of a split are those on the watched one, and come last.
    """
    metrics = [metric for kind in (EpochMetric, SplitMetric) for metric in metrics_of(kind, task) if metric.dvc]
    rows = []
    for name, trials in results.items():
        split, history = trials[0].watched, trials[0].history
        series = [one for metric in metrics for one in metric.series(task.modalities, split) if one.column in history]
        columns = {one.name: np.mean(by_seed(trials, one.column), axis=0) for one in series}
        steps = np.cumsum(by_seed(trials, "schedule/steps")[0]).astype(np.int64)
        for epoch in range(len(steps)):
            means = {name: float(column[epoch]) for name, column in columns.items()}
            numbers = {name: None if isnan(mean) else mean for name, mean in means.items()}
            head = {"scheduler": name, "protocol": protocol, "split": split, "epoch": epoch, "steps": int(steps[epoch])}
            rows.append(head | numbers)
    return rows


def difference_rows(comparison: Comparison) -> list[dict[str, Any]]:
    """Return a row per scheduler, reference and metric: the paired difference in points with all its statistics.

    Empty for a single scheduler.
    """
    rows = []
    for scheduler, entry in comparison["schedulers"].items():
        for key, role in ROLES:
            for metric, difference in entry.get(key, {}).items():
                head = {"scheduler": scheduler, "reference": comparison[role], "metric": metric}
                rows.append(head | difference)
    return rows


def metric_rows(comparison: Comparison) -> dict[str, dict[str, float]]:
    """Return the `dvc metrics` of each scheduler: means over seeds, shares in [0, 1], and the differences.

    The paired differences are in percentage points; baseline and control have none to themselves.
    """
    names = [metric.name for metric in metrics_of(SplitMetric) if metric.dvc and not metric.per_modality]
    rows = {}
    for scheduler, entry in comparison["schedulers"].items():
        row = {"test_acc": entry["test_acc"]["mean"], "test_acc_sd": entry["test_acc"]["sd"]}
        row |= {f"test_{name}": entry[f"test_{name}"]["mean"] for name in names if f"test_{name}" in entry}
        row |= {f"{key}_points": entry[key]["test_acc"]["difference"] for key, _ in ROLES if key in entry}
        rows[scheduler] = row | {"steps": entry["steps"]["mean"]}
    return rows


def comparison_rows(comparison: Comparison) -> list[dict[str, Any]]:
    """Return a row per scheduler with everything of comparison.json in columns."""
    names = {
        f"{key}_{part}": None
        for entry in comparison["schedulers"].values()
        for key, value in entry.items()
        if "mean" in value
        for part in value
    }
    rows = []
    for scheduler, entry in comparison["schedulers"].items():
        row: dict[str, Any] = {"scheduler": scheduler, "protocol": comparison["protocol"]}
        row |= {name: entry[name.rpartition("_")[0]][name.rpartition("_")[2]] for name in names}
        for key, _ in ROLES:
            for metric, difference in entry.get(key, {}).items():
                row |= {f"{key}_{metric}_{part}": value for part, value in difference.items()}
        rows.append(row)
    return rows
