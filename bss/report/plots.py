"""The report's bars and histograms."""

from typing import Any

import numpy as np
import numpy.typing as npt

from bss.metrics.base import MODALITY, Series, SplitMetric
from bss.report.comparison import Comparison
from bss.report.drawing import PALETTE, axis_label, colours, figure, legend
from bss.report.terminal import modality_names

KIND_COLOURS = tuple(PALETTE[i] for i in (2, 3, 1, 5, 4, 8, 7))
"""Kinds of pairs in the histograms; clean comes first."""


def modality_plot(comparison: Comparison) -> str:
    """Plot each modality's accuracy on test beside that of all together."""
    parts = {"all": "test_acc", **{name: f"test_acc_{name}" for name in modality_names(comparison)}}
    label = "Test accuracy of each scheduler, all modalities together and each alone"
    return _bars(comparison, parts, 100, label, "test accuracy, %")


def final_plot(comparison: Comparison, metric: SplitMetric, series: list[Series]) -> str:
    """Plot a metric of the trained networks on test, whose `series` are the metric or one per modality."""
    parts = {one.label: f"test_{one.name}" for one in series}
    what = metric.label.replace(MODALITY, "each modality")
    return _bars(comparison, parts, metric.factor, f"Test {what} of each scheduler", axis_label(f"test {what}", metric))


def _bars(comparison: Comparison, parts: dict[str, str], factor: int, label: str, axis: str) -> str:
    """Plot `factor` times the numbers of the comparison that `parts` names, as a group of bars for each part."""
    names = list(comparison["schedulers"])
    with figure(8.6, 3.6, label) as (axes, finish):
        width = 0.8 / len(names)
        for i, (name, colour) in enumerate(colours(names).items()):
            entry = comparison["schedulers"][name]
            means = [factor * entry[key]["mean"] for key in parts.values()]
            deviations = [factor * entry[key]["sd"] for key in parts.values()]
            x = np.arange(len(parts)) + (i - (len(names) - 1) / 2) * width
            axes.bar(x, means, 0.9 * width, yerr=deviations, color=colour, label=name, error_kw={"elinewidth": 0.7})
        axes.set_xticks(range(len(parts)), list(parts))
        axes.set_ylabel(axis)
        legend(axes)
        return finish()


def histogram_plot(label: str, scores: npt.NDArray[np.float64], kinds: npt.NDArray[Any] | None) -> str:
    """Plot the distribution of one measurement's scores; with ground truth, one colour per kind of pair."""
    with figure(4.3, 2.5, f"Histogram of the balance score, {label}") as (axes, finish):
        bins = np.linspace(min(-1.0, scores.min()), max(1.0, scores.max()), 41)
        if kinds is None:
            axes.hist(scores, bins, color=PALETTE[2], alpha=0.8)
        else:
            for i, kind in enumerate(_kinds_in_order(kinds)):
                colour = KIND_COLOURS[i % len(KIND_COLOURS)]
                axes.hist(scores[kinds == kind], bins, color=colour, alpha=0.6, label=kind)
            axes.legend(frameon=False, fontsize=8)
        axes.set_xticks(np.arange(np.ceil(2 * bins[0]), 2 * bins[-1] + 1) / 2)
        axes.set_xlim(bins[0], bins[-1])
        axes.set_xlabel("balance score")
        axes.set_ylabel("samples")
        return finish()


def _kinds_in_order(kinds: npt.NDArray[Any]) -> list[str]:
    return sorted(set(kinds.tolist()), key=lambda kind: (kind != "clean", kind))
