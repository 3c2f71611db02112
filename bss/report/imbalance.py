"""The report's part on imbalance: how the modalities differ in each row, as drawings over the epochs and a table."""

from math import ceil
from typing import Any

import numpy as np

from bss.metrics.base import ImbalanceMetric, Metric, Reading, Series, Task
from bss.metrics.find import metrics_of
from bss.report.comparison import Results
from bss.report.drawing import PALETTE, STYLES, axis_label, capitalised, panels
from bss.report.results import Result
from bss.report.statistics import Floats
from bss.report.tables import PageTable, page_table

COLUMNS = 2
"""Panels side by side, so that a drawing is as wide as a phone."""


def imbalance_part(results: Results, few: Results, task: Task) -> dict[str, Any] | None:
    """Return the table of all `results` and (drawing of `few`, title, text) per metric; None if nothing was measured.

    The metrics are those that have a `reading`.
    """
    history = next(iter(results.values()))[0].history
    every = metrics_of(ImbalanceMetric, task)
    if not any(series.column in history for metric in every for series in metric.series(task.modalities, "")):
        return None
    read = [(metric, metric.reading) for metric in metrics_of(Metric, task) if metric.reading is not None]
    return {
        "table": imbalance_table(results, read, task),
        "drawings": [(imbalance_plot(few, *pair, task), capitalised(pair[1].title), pair[1].text) for pair in read],
    }


def imbalance_table(results: Results, read: list[tuple[Metric[Any], Reading]], task: Task) -> PageTable:
    """Return a row per scheduler and strategy: means and standard deviations over seeds at the last measurement."""
    titles, rows = ["scheduler"], [[name] for name in results]
    exact: list[dict[str, Any]] = [{"scheduler": name} for name in results]
    watched = next(iter(results.values()))[0].watched
    for metric, reading in read:
        for line, series in _lines(metric, task, watched):
            what = reading.title + (f", {line}" if line else "")
            titles.append(what + (" (%)" if metric.unit == "%" else ""))
            for trials, row, values in zip(results.values(), rows, exact, strict=True):
                last = np.array([_last(trial, series.column) for trial in trials])
                last = last[np.isfinite(last)]
                row.append(_text(metric.factor * last, metric))
                values[series.name] = float(last.mean()) if len(last) else None
    return page_table("imbalance", titles, rows, exact)


def imbalance_plot(results: Results, metric: Metric[Any], reading: Reading, task: Task) -> str:
    """Plot a metric against epochs: a panel per row with a line per modality, the mean over the seeds that have it."""
    what, columns = reading.title, min(COLUMNS, len(results))
    rows = ceil(len(results) / columns)
    label = f"{capitalised(what)} of each modality against epochs, one panel per scheduler"
    watched = next(iter(results.values()))[0].watched
    with panels(4.3, 0.9 + 1.1 * rows, label, rows, columns, share_x=True) as (drawn, finish):
        for axes, (name, trials) in zip(drawn, results.items(), strict=False):
            for place, (line, series) in enumerate(_lines(metric, task, watched)):
                epochs, mean = _curve(trials, series.column)
                colour, style = PALETTE[(place + 2) % len(PALETTE)], STYLES[place % len(STYLES)]
                marks = {"marker": "o", "markersize": 2.5} if isinstance(metric, ImbalanceMetric) else {}
                axes.plot(epochs, metric.factor * mean, style, color=colour, label=line, linewidth=1.4, **marks)
            axes.set_title(name, loc="left", fontsize=8)
            axes.tick_params(labelsize=7)
        for axes in drawn[len(results) :]:
            axes.set_axis_off()
        axes = drawn[0]
        axes.xaxis.get_major_locator().set_params(integer=True, nbins=4)
        axes.yaxis.get_major_locator().set_params(nbins=4)
        axes.figure.supxlabel("epoch", fontsize=8)
        axes.figure.supylabel(axis_label(what, metric), fontsize=8)
        if metric.per_modality:
            handles, labels = axes.get_legend_handles_labels()
            axes.figure.legend(handles, labels, loc="outside upper center", ncols=3, frameon=False, fontsize=8)
        return finish()


def _lines(metric: Metric[Any], task: Task, watched: str) -> list[tuple[str, Series]]:
    """Return (modality, series), or the only series with an empty name."""
    names = task.modalities if metric.per_modality else ("",)
    return list(zip(names, metric.series(task.modalities, watched), strict=True))


def _values(trial: Result, column: str) -> Floats:
    return np.array(trial.history[column], dtype=np.float64)


def _last(trial: Result, column: str) -> float:
    """Return the last value that there is, NaN if there is none."""
    values = _values(trial, column)
    known = values[np.isfinite(values)]
    return float(known[-1]) if len(known) else np.nan


def _curve(trials: list[Result], column: str) -> tuple[Floats, Floats]:
    """Return the epochs, from 1, in which some seed has a value, and the mean over those that have."""
    values = np.array([_values(trial, column) for trial in trials])
    known = np.isfinite(values).any(axis=0)
    epochs: Floats = np.flatnonzero(known) + 1.0
    return epochs, np.nanmean(values[:, known], axis=0)


def _text(values: Floats, metric: Metric[Any]) -> str:
    if not len(values):
        return "-"
    digits = ".1f" if metric.unit == "%" else ".3g"
    spread = f" ± {values.std(ddof=1):{digits}}" if len(values) > 1 else ""
    return f"{values.mean():{digits}}{spread}"
