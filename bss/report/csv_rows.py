"""The comparison as CSV files, for DVC's plots and for spreadsheets."""

from typing import Any

import numpy as np

from bss.report.comparison import ROLES, Comparison, Results

CURVES = {
    "learning_rate": "learning_rate",
    "train/loss": "train_loss",
    "balance/gap": "gap",
    "schedule/fraction": "fraction",
}
"""Column of history.csv to column of curves.csv; acc, f1_macro and acc_m of the watched split come with them."""


def curve_rows(results: Results, protocol: str) -> list[dict[str, Any]]:
    """Return a row per scheduler and epoch: the means over seeds, with the steps taken so far."""
    rows = []
    for name, trials in results.items():
        columns = {new: np.mean([trial.history[old] for trial in trials], axis=0) for old, new in CURVES.items()}
        split = trials[0].watched
        for old in trials[0].history:
            if old.startswith((f"{split}/acc", f"{split}/f1_macro")):
                columns[old.removeprefix(f"{split}/")] = np.mean([trial.history[old] for trial in trials], axis=0)
        steps = np.cumsum(trials[0].history["schedule/steps"])
        for epoch in range(len(steps)):
            numbers = {key: float(column[epoch]) for key, column in columns.items()}
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
    rows = {}
    for scheduler, entry in comparison["schedulers"].items():
        row = {"test_acc": entry["test_acc"]["mean"], "test_acc_sd": entry["test_acc"]["sd"]}
        row["test_f1_macro"] = entry["test_f1_macro"]["mean"]
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
