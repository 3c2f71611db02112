"""Small multiples of the curves."""

import re

import numpy as np
import pytest
from made import EPOCHS, made_results

from bss.metrics.accuracy import METRIC
from bss.report.drawing import PALETTE, css_colour
from bss.report.multiples import multiples_plot

SERIES = METRIC.series(("audio",), "val")[0]
NAMES = ["uniform", "control", *(f"bss-{i}+ogm" for i in range(5))]


@pytest.fixture(scope="module")
def results():
    return made_results(NAMES, 3, ("audio",))


def titles(svg):
    return [text for text in re.findall(r"<text[^>]*>([^<]*)</text>", svg) if text in NAMES]


def lines(svg, style):
    """Heights of the points of every line whose style holds `style`, in drawing units from the top."""
    found = re.findall(r'<path d="([^"]*)"[^>]*style="([^"]*)"', svg)
    return [
        np.array([float(y) for y in re.findall(r"[ML] \S+ (\S+)", d)])
        for d, text in found
        if "fill: none" in text and style in text and d.count("L") >= EPOCHS - 8
    ]


def test_a_panel_for_each_in_the_given_order(results):
    svg = multiples_plot(results, METRIC, SERIES, "uniform", NAMES[::-1])
    assert titles(svg) == NAMES[::-1]
    assert titles(multiples_plot(results, METRIC, SERIES, "uniform", ["bss-1+ogm", "uniform"])) == [
        "bss-1+ogm",
        "uniform",
    ]


def test_each_panel_has_its_own_curve_and_the_baselines_dashed(results):
    svg = multiples_plot(results, METRIC, SERIES, "uniform", NAMES)
    assert len(lines(svg, "stroke-dasharray: 3.7")) == len(NAMES)
    curves = lines(svg, f"stroke: {css_colour(PALETTE[2])}")
    assert len(curves) == len(NAMES) - 1  # the baseline's own is grey
    for name, heights in zip(NAMES[1:], curves, strict=True):
        mean = np.mean([trial.history["val/acc"] for trial in results[name]], axis=0)[-len(heights) :]
        assert np.corrcoef(-heights, mean)[0, 1] == pytest.approx(1, abs=1e-6)


def test_the_same_results_give_the_same_bytes(results):
    svg = multiples_plot(results, METRIC, SERIES, "uniform", NAMES[:2])
    assert svg == multiples_plot(results, METRIC, SERIES, "uniform", NAMES[:2])
