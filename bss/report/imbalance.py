"""The report's part on imbalance: how the modalities differ in each row, as drawings over the epochs and a table."""

from math import ceil
from typing import Any

import numpy as np

from bss.metrics.base import ImbalanceMetric, Metric, Reading, Series
from bss.metrics.final import FinalMetric
from bss.metrics.find import metrics_of
from bss.metrics.inputs import Task
from bss.report.comparison import Results
from bss.report.drawing import PALETTE, STYLES, axis_label, capitalised, label_panels, panels
from bss.report.results import Result, by_seed
from bss.report.statistics import Floats
from bss.report.tables import PageTable, page_table

CORRELATION = Reading(
    "score and contributions apart",
    "The rank correlation, over the training samples, of the balance score with how far apart the modalities' "
    "contributions to a sample lie. Below 0, balanced samples are those to which the modalities contribute alike; near "
    "0, the score does not predict what the trained network does with a sample.",
)
COLUMNS = 2
"""Panels side by side, so that a drawing is as wide as a phone."""


def imbalance_part(
    results: Results, few: Results, task: Task, correlations: dict[str, Floats] | None
) -> dict[str, Any] | None:
    """Return the table of all `results`, (drawing of `few`, title, text) of each metric of epochs, and other readings.

    The metrics are those that have a `reading`; `correlations` are those of `score_correlations`. None if nothing was
    measured.
    """
    history = next(iter(results.values()))[0].history
    every = metrics_of(ImbalanceMetric, task)
    if not any(series.column in history for metric in every for series in metric.series(task.modalities, "")):
        return None
    read = [(metric, metric.reading) for metric in metrics_of(Metric, task) if metric.reading is not None]
    of_epochs = [pair for pair in read if not isinstance(pair[0], FinalMetric)]
    finals = [reading for metric, reading in read if isinstance(metric, FinalMetric)]
    return {
        "table": imbalance_table(results, read, task, correlations),
        "drawings": [
            (imbalance_plot(few, *pair, task), capitalised(pair[1].title), pair[1].text) for pair in of_epochs
        ],
        "finals": [(capitalised(r.title), r.text) for r in finals + ([CORRELATION] if correlations else [])],
    }


def imbalance_table(
    results: Results,
    read: list[tuple[Metric[Any], Reading]],
    task: Task,
    correlations: dict[str, Floats] | None,
) -> PageTable:
    """Return a row per scheduler and strategy: means and standard deviations over seeds.

    Of metrics of epochs at the last measurement, of the others of the selected network.
    """
    titles, rows = ["scheduler"], [[name] for name in results]
    exact: list[dict[str, Any]] = [{"scheduler": name} for name in results]
    watched = next(iter(results.values()))[0].watched
    for metric, reading in read:
        split = "test" if isinstance(metric, FinalMetric) else watched
        for line, series in _lines(metric, task, split):
            what = reading.title + (f", {line}" if line else "")
            titles.append(what + (" (%)" if metric.unit == "%" else ""))
            for trials, row, values in zip(results.values(), rows, exact, strict=True):
                last = np.array([_last(trial, metric, series.column) for trial in trials])
                last = last[np.isfinite(last)]
                row.append(_text(metric.factor * last, ".1f" if metric.unit == "%" else ".3g"))
                values[series.name] = float(last.mean()) if len(last) else None
    if correlations:
        titles.append(CORRELATION.title)
        for name, row, values in zip(results, rows, exact, strict=True):
            row.append(_text(correlations[name], ".2f"))
            values["score_correlation"] = float(correlations[name].mean())
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
        label_panels(drawn, len(results), "epoch", axis_label(what, metric), size=8)
        if metric.per_modality:
            handles, labels = drawn[0].get_legend_handles_labels()
            drawn[0].figure.legend(handles, labels, loc="outside upper center", ncols=3, frameon=False, fontsize=8)
        return finish()


def _lines(metric: Metric[Any], task: Task, watched: str) -> list[tuple[str, Series]]:
    """Return (modality, series), or the only series with an empty name."""
    names = task.modalities if metric.per_modality else ("",)
    return list(zip(names, metric.series(task.modalities, watched), strict=True))


def _values(trial: Result, column: str) -> Floats:
    return np.array(trial.history[column], dtype=np.float64)


def _last(trial: Result, metric: Metric[Any], column: str) -> float:
    """Return the final value, or that of the last epoch; NaN without any."""
    if isinstance(metric, FinalMetric):
        return float(trial.metrics.get(column, np.nan))
    values = _values(trial, column)
    known = values[np.isfinite(values)]
    return float(known[-1]) if len(known) else np.nan


def _curve(trials: list[Result], column: str) -> tuple[Floats, Floats]:
    """Return the epochs, from 1, in which some seed has a value, and the mean over those that have."""
    values = by_seed(trials, column)
    known = np.isfinite(values).any(axis=0)
    mean: Floats = np.nanmean(values[:, known], axis=0)
    return np.flatnonzero(known).astype(np.float64) + 1, mean


def _text(values: Floats, digits: str) -> str:
    if not len(values):
        return "-"
    spread = f" ± {values.std(ddof=1):{digits}}" if len(values) > 1 else ""
    return f"{values.mean():{digits}}{spread}"
