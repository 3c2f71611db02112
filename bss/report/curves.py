"""The report's plots over the course of training."""

from collections import Counter
from typing import Any

import numpy as np

from bss.metrics.base import Metric, Series, SplitMetric
from bss.report.comparison import Results
from bss.report.drawing import axis_label, capitalised, colours, figure, legend, line_style, mark_series
from bss.report.results import Result, by_seed
from bss.report.statistics import Floats

SPLITS = {"val": "validation", "test": "test"}
"""Splits as texts name them."""


def curves_plot(results: Results, metric: Metric[Any], series: Series, against: str) -> str:
    """Plot a metric against epochs or steps: mean over seeds with its standard error.

    A metric of a split is that of the watched one.
    """
    what = watched_label(results, metric, series)
    label = f"{capitalised(what)} of each scheduler against {against}, mean over seeds"
    with figure(8.6, 4.2, label) as (axes, finish):
        for place, (name, colour) in enumerate(colours(list(results)).items()):
            trials = results[name]
            mean, error = mean_curve(trials, metric, series)
            steps = np.cumsum(trials[0].history["schedule/steps"])[: len(mean)]
            x = steps if against == "steps" else np.arange(1, len(mean) + 1)
            (line,) = axes.plot(x, mean, line_style(place), color=colour, label=name, linewidth=1.6)
            band = axes.fill_between(x, mean - error, mean + error, color=colour, alpha=0.12, linewidth=0)
            mark_series(line, place)
            mark_series(band, place)
        axes.set_xlabel("training steps" if against == "steps" else "epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set_ylabel(axis_label(what, metric))
        if metric.unit == "%" and metric.better == "higher":
            axes.set_ylim(bottom=max(0, low_end(results, series.column)))
        legend(axes)
        return finish()


def watched_label(results: Results, metric: Metric[Any], series: Series) -> str:
    """Return the name of the plotted quantity, such as ``validation accuracy`` (split metrics: the watched one)."""
    if isinstance(metric, SplitMetric):
        return f"{SPLITS[next(iter(results.values()))[0].watched]} {series.label}"
    return series.label


def mean_curve(trials: list[Result], metric: Metric[Any], series: Series) -> tuple[Floats, Floats]:
    """Return the mean over seeds and its standard error, float64 [epochs] each, in the unit of plots."""
    values = metric.factor * by_seed(trials, series.column)
    return values.mean(axis=0), _standard_error(values)


def pacing_plot(results: Results) -> str:
    """Plot how many samples each epoch shows, as a share of the most that any shows."""
    most = max(max(trials[0].history["schedule/samples"]) for trials in results.values())
    with figure(8.6, 3.4, "Share of the training samples that each scheduler shows in each epoch") as (axes, finish):
        shown = {name: tuple(trials[0].history["schedule/samples"]) for name, trials in results.items()}
        left = Counter(shown.values())
        for place, (name, colour) in enumerate(colours(list(results)).items()):
            samples = shown[name]
            left[samples] -= 1
            x, y = np.arange(1, len(samples) + 1), 100 * np.array(samples) / most
            # Equal pacings lie on each other: the later ones are thinner, so that all of them are seen.
            width = 1.6 + 2 * left[samples]
            (line,) = axes.step(x, y, where="mid", color=colour, label=name, linewidth=width, solid_capstyle="butt")
            mark_series(line, place)
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set_ylabel("samples shown, %")
        axes.set_ylim(0, 105)
        legend(axes)
        return finish()


def _standard_error(values: Floats) -> Floats:
    if len(values) < 2:
        return np.zeros(values.shape[1])
    error: Floats = values.std(axis=0, ddof=1) / np.sqrt(len(values))
    return error


def low_end(results: Results, column: str) -> float:
    """Return where the axis of accuracies starts, in %.

    It leaves out the steep first epochs, so that later differences are visible.
    """
    means = [by_seed(trials, column).mean(axis=0) for trials in results.values()]
    later = [mean[len(mean) // 5 :] for mean in means]
    return float(100 * min(mean.min() for mean in later) - 5)
