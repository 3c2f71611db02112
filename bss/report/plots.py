"""The report's plots as inline SVG: one colour per scheduler throughout."""

import io
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape
from typing import Any

import numpy as np
import numpy.typing as npt

from bss.metrics.base import MODALITY, Metric, Series, SplitMetric
from bss.report.comparison import Comparison, Results
from bss.report.results import Result
from bss.report.terminal import modality_names

PALETTE = (
    "#555555",
    "#e69f00",
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#56b4e9",
    "#8c6d31",
    "#7b4fa3",
    "#b10026",
)
"""Distinguishable for colour-blind readers, as far as ten colours can be."""
PALETTE_DARK = (
    "#b4bcc6",
    "#f0b429",
    "#4aa3df",
    "#ff8a4c",
    "#2fc79a",
    "#e39ac5",
    "#8fd0f5",
    "#c9a45c",
    "#b48be0",
    "#ff6b7d",
)
"""The same for a dark page."""
KIND_COLOURS = tuple(PALETTE[i] for i in (2, 3, 1, 5, 4, 8, 7))
"""Kinds of pairs in the histograms; clean comes first."""
INK = "#1c2733"
"""Text and axes; in the page they inherit the colour of the surrounding text."""

SPLITS = {"val": "validation", "test": "test"}
"""Splits as texts name them."""

Colours = dict[str, str]


def colours(names: list[str]) -> Colours:
    """Return one colour per scheduler, by its position in params.yaml; they repeat from the eleventh."""
    return {name: PALETTE[i % len(PALETTE)] for i, name in enumerate(names)}


def css_colour(colour: str) -> str:
    """Return the CSS variable for a colour of `PALETTE`, light or dark."""
    return f"var(--c{PALETTE.index(colour)})"


def curves_plot(results: Results, metric: Metric[Any], series: Series, against: str) -> str:
    """Plot a metric against epochs or steps: mean over seeds with its standard error.

    A metric of a split is that of the watched one.
    """
    what = series.label
    if isinstance(metric, SplitMetric):
        what = f"{SPLITS[next(iter(results.values()))[0].watched]} {what}"
    label = f"{capitalised(what)} of each scheduler against {against}, mean over seeds"
    with figure(8.6, 4.2, label) as (axes, finish):
        for name, colour in colours(list(results)).items():
            trials = results[name]
            values = metric.factor * _values(trials, series.column)
            steps = np.cumsum(trials[0].history["schedule/steps"])
            x = steps if against == "steps" else np.arange(1, values.shape[1] + 1)
            mean, error = values.mean(axis=0), _standard_error(values)
            axes.plot(x, mean, color=colour, label=name, linewidth=1.6)
            axes.fill_between(x, mean - error, mean + error, color=colour, alpha=0.12, linewidth=0)
        axes.set_xlabel("training steps" if against == "steps" else "epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set_ylabel(_axis(what, metric))
        if metric.unit == "%" and metric.better == "higher":
            axes.set_ylim(bottom=max(0, _low_end(results, series.column)))
        _legend(axes)
        return finish()


def pacing_plot(results: Results) -> str:
    """Plot the number of samples per epoch, as a share of the maximum."""
    most = max(max(trials[0].history["schedule/samples"]) for trials in results.values())
    with figure(8.6, 3.4, "Share of the training samples that each scheduler shows in each epoch") as (axes, finish):
        shown = {name: tuple(trials[0].history["schedule/samples"]) for name, trials in results.items()}
        left = Counter(shown.values())
        for name, colour in colours(list(results)).items():
            samples = shown[name]
            left[samples] -= 1
            x, y = np.arange(1, len(samples) + 1), 100 * np.array(samples) / most
            # Equal pacings overlap: later ones are thinner, so that all stay visible.
            width = 1.6 + 2 * left[samples]
            axes.step(x, y, where="mid", color=colour, label=name, linewidth=width, solid_capstyle="butt")
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set_ylabel("samples shown, %")
        axes.set_ylim(0, 105)
        _legend(axes)
        return finish()


def modality_plot(comparison: Comparison) -> str:
    """Plot each modality's accuracy on test beside that of all together."""
    parts = {"all": "test_acc", **{name: f"test_acc_{name}" for name in modality_names(comparison)}}
    label = "Test accuracy of each scheduler, all modalities together and each alone"
    return _bars(comparison, parts, 100, label, "test accuracy, %")


def final_plot(comparison: Comparison, metric: SplitMetric, series: list[Series]) -> str:
    """Plot a metric of the trained networks on test, whose `series` are the metric or one per modality."""
    parts = {one.label: f"test_{one.name}" for one in series}
    what = metric.label.replace(MODALITY, "each modality")
    return _bars(comparison, parts, metric.factor, f"Test {what} of each scheduler", _axis(f"test {what}", metric))


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
        _legend(axes)
        return finish()


def differences_plot(comparison: Comparison, key: str, metric: str) -> str:
    """Plot the differences to baseline (`key` vs_baseline) or control with their 95 % intervals, and the margin."""
    entries = {name: entry[key][metric] for name, entry in comparison["schedulers"].items() if key in entry}
    palette = colours(list(comparison["schedulers"]))
    role, margin = comparison["baseline" if key == "vs_baseline" else "control"], comparison["margin"]
    label = f"Differences of each scheduler to {role} with their 95 % intervals"
    with figure(8.6, 0.6 + 0.34 * len(entries), label) as (axes, finish):
        axes.axvline(0, color="#888888", linewidth=1)
        axes.axvspan(-margin, margin, color="#888888", alpha=0.15, linewidth=0)
        for y, (name, d) in enumerate(entries.items()):
            if d["low"] is not None:
                axes.plot([d["low"], d["high"]], [y, y], color=palette[name], linewidth=2.4)
            axes.plot(d["difference"], y, "o", color=palette[name])
        axes.set_yticks(range(len(entries)), list(entries))
        axes.invert_yaxis()
        axes.set_xlabel(f"difference to {role} in points of test accuracy, 95 % interval; grey: the margin")
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


@contextmanager
def figure(width: float, height: float, label: str) -> Iterator[tuple[Any, Callable[[], str]]]:
    """Yield axes and a function that returns the drawing as SVG, with the same bytes for the same data.

    `label` describes the drawing for screen readers.
    """
    import matplotlib as mpl

    style: Any = {
        "svg.hashsalt": "bss",
        "svg.fonttype": "none",
        "text.parse_math": False,  # keep dollar signs in the data's names literal
        "font.family": "sans-serif",
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.alpha": 0.25,
        "savefig.transparent": True,
        **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK),
    }
    with mpl.rc_context(style):
        # The object-oriented interface: no display, no global state.
        from matplotlib.figure import Figure

        drawing = Figure(figsize=(width, height), layout="constrained")
        axes = drawing.add_subplot()

        def finish() -> str:
            buffer = io.StringIO()
            drawing.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
            return _for_page(buffer.getvalue(), label)

        yield axes, finish


def _for_page(svg: str, label: str) -> str:
    """Strip what only a standalone SVG file needs, and use the colours of the page."""
    svg = svg[svg.index("<svg") :].replace("<svg", f'<svg role="img" aria-label="{escape(label, quote=True)}"', 1)
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    # Group ids restart in every drawing, so they would occur in the page many times.
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    svg = svg.replace(INK, "currentColor")
    for colour in PALETTE:
        svg = svg.replace(colour, css_colour(colour))
    return svg


def _legend(axes: Any) -> None:
    legend = axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=8)
    for line in legend.get_lines():
        line.set_linewidth(1.6)


def _standard_error(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    if len(values) < 2:
        return np.zeros(values.shape[1])
    error: npt.NDArray[np.float64] = values.std(axis=0, ddof=1) / np.sqrt(len(values))
    return error


def capitalised(label: str) -> str:
    """Return `label` with a capital at its start, unless its first word is a name such as mAP."""
    first = label.split(maxsplit=1)[0]
    return label[0].upper() + label[1:] if first == first.lower() else label


def _axis(what: str, metric: Metric[Any]) -> str:
    unit = f", {metric.unit}" if metric.unit else ""
    return what + unit + ("; lower is better" if metric.better == "lower" else "")


def _values(trials: list[Result], column: str) -> npt.NDArray[np.float64]:
    """Return a column of history.csv, [seeds, epochs]."""
    return np.array([trial.history[column] for trial in trials])


def _low_end(results: Results, column: str) -> float:
    """Leave out the steep first epochs, so that the differences later on can be seen."""
    means = [_values(trials, column).mean(axis=0) for trials in results.values()]
    later = [mean[len(mean) // 5 :] for mean in means]
    return float(100 * min(mean.min() for mean in later) - 5)
