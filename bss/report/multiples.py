"""Small multiples: a panel per scheduler, so that any number of curves can be distinguished without colour."""

from math import ceil
from typing import Any

import numpy as np

from bss.metrics.base import Metric, Series
from bss.report.comparison import Results
from bss.report.curves import low_end, mean_curve, watched_label
from bss.report.drawing import PALETTE, axis_label, capitalised, label_panels, panels

COLUMNS = 5
MANY = 20
"""Panels up to which they are drawn generously."""
MOST_PANELS = 100
"""Panels of one drawing; each takes time and space."""


def multiples_plot(results: Results, metric: Metric[Any], series: Series, baseline: str, names: list[str]) -> str:
    """Plot a metric against epochs, one panel for each of the first `MOST_PANELS` of `names`.

    A panel has the mean over seeds with its standard error, and in grey the curve of `baseline`, dashed, and the range
    of the means of all `results`.
    """
    what = watched_label(results, metric, series)
    curves = {name: mean_curve(trials, metric, series) for name, trials in results.items()}
    means = np.full((len(curves), max(len(mean) for mean, _ in curves.values())), np.nan)  # some rows are shorter
    for row, (mean, _) in zip(means, curves.values(), strict=True):
        row[: len(mean)] = mean
    low, high = np.nanmin(means, axis=0), np.nanmax(means, axis=0)
    epochs = np.arange(1, means.shape[1] + 1)
    names = names[:MOST_PANELS]
    columns = min(COLUMNS, len(names))
    rows = ceil(len(names) / columns)
    label = f"{capitalised(what)} of each scheduler against epochs, one panel each, with the curve of {baseline}"
    height = 0.7 + (1.45 if len(names) <= MANY else 1.05) * rows
    with panels(2.0 * columns, height, label, rows, columns, share_x=True) as (drawn, finish):
        for axes, name in zip(drawn, names, strict=False):
            mean, error = curves[name]
            own = epochs[: len(mean)]
            axes.fill_between(epochs, low, high, color="#888888", alpha=0.15, linewidth=0)
            axes.plot(epochs[: len(curves[baseline][0])], curves[baseline][0], "--", color="#888888", linewidth=1)
            if name != baseline:
                axes.fill_between(own, mean - error, mean + error, color=PALETTE[2], alpha=0.25, linewidth=0)
            axes.plot(own, mean, color=PALETTE[0 if name == baseline else 2], linewidth=1.6)
            axes.set_title(name, loc="left", fontsize=8)
            axes.tick_params(labelsize=7)
        if metric.unit == "%" and metric.better == "higher":
            drawn[0].set_ylim(bottom=max(0, low_end(results, series.column)))
        label_panels(drawn, len(names), "epoch", axis_label(what, metric), size=9)
        return finish()
