"""Trainings that end before their last epoch: when they do, and what the report makes of different lengths."""

import numpy as np
import pytest
from conftest import small_tree
from made import made_results

from bss.config import config_from_tree
from bss.config.early_stopping import EarlyStopping
from bss.errors import BssError
from bss.metrics.accuracy import METRIC
from bss.metrics.base import Task
from bss.report.comparison import compare_results
from bss.report.csv_rows import curve_rows
from bss.report.multiples import multiples_plot
from bss.report.verdicts import cautions


@pytest.mark.parametrize(
    ("accuracies", "patience", "min_delta", "stops"),
    [
        ([0.5, 0.6, 0.6], 2, 0, False),
        ([0.5, 0.6, 0.6, 0.59], 2, 0, True),
        ([0.5, 0.6, 0.59, 0.61], 2, 0, False),
        ([0.5, 0.504, 0.508], 2, 1, True),  # half a point is no rise
        ([0.5, 0.504, 0.512], 2, 1, False),  # more than a point above the best that counted
        ([], 1, 0, False),
        ([0.0], 1, 0, False),
    ],
)
def test_it_stops_after_as_many_epochs_without_a_rise(accuracies, patience, min_delta, stops):
    assert EarlyStopping(patience, min_delta).stops(accuracies) == stops


def test_with_protocol_published_it_is_refused(tree):
    tree |= {"protocol": "published"}
    tree["train"]["early_stopping"] = {"patience": 2}
    with pytest.raises(BssError, match=r"`train\.early_stopping` must be null with protocol published"):
        config_from_tree(tree, "params.yaml")


@pytest.fixture
def results():
    """Three seeds of two rows; one of bss-h has stopped after 10 of 24 epochs."""
    made = made_results(["uniform", "bss-h"], 3, ("audio",))
    for trial in (*made["uniform"], *made["bss-h"]):
        trial.metrics["epochs"] = 24
    stopped = made["bss-h"][1]
    stopped.metrics["epochs"] = 10
    for column in stopped.history:
        del stopped.history[column][10:]
    return made


def test_curves_are_of_all_seeds_and_end_with_the_first_that_stops(results):
    rows = curve_rows(results, "honest", Task(3, ("audio",)))
    lengths = [sum(row["scheduler"] == name for row in rows) for name in ("uniform", "bss-h")]
    assert lengths == [24, 10]
    assert rows[-1]["steps"] == 1000
    last = [trial.history["val/acc"][9] for trial in results["bss-h"]]
    assert rows[-1]["acc"] == pytest.approx(np.mean(last))
    svg = multiples_plot(results, METRIC, METRIC.series(("audio",), "val")[0], "bss-h", ["uniform", "bss-h"])
    assert "nan" not in svg.lower()


def test_the_report_says_which_rows_stopped_early(results, small_root):
    tree = small_tree(small_root)
    tree |= {"seeds": [0, 1, 2], "compare": {"resamples": 1000}}
    tree["schedule"]["schedulers"] = {name: {"kind": "uniform"} for name in results}
    tree["train"] |= {"epochs": 24, "early_stopping": {"patience": 3}}
    comparison = compare_results(config_from_tree(tree, "params.yaml"), results, 10**6)
    assert comparison["stopped_early"] == {"bss-h": 1}
    assert comparison["schedulers"]["bss-h"]["epochs"]["mean"] == pytest.approx((24 + 10 + 24) / 3)
    (line,) = [text for text in cautions(comparison) if "stopped early" in text]
    assert "bss-h 1 of 3 (mean of all: 19.3 epochs)" in line
