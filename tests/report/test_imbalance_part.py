"""The report's part on imbalance."""

import csv
import io
import re
from base64 import b64decode

import numpy as np
import pytest
from made import EPOCHS, add_imbalance, made_results

from bss.metrics.base import ImbalanceMetric, Metric
from bss.metrics.final import FinalMetric
from bss.metrics.find import metrics_of
from bss.metrics.inputs import Task
from bss.report import imbalance
from bss.report.imbalance import imbalance_part

TASK = Task(3, ("audio", "video"))
NAMES = ["uniform", "bss-h", "bss-h+ogm"]


@pytest.fixture(scope="module")
def results():
    return add_imbalance(made_results(NAMES, 3, TASK.modalities), TASK.modalities)


@pytest.fixture(scope="module")
def part(results):
    return imbalance_part(results, {name: results[name] for name in NAMES[:2]}, TASK, None)


def column(part, title):
    return [row[part["table"].titles.index(title)] for row in part["table"].rows]


def test_there_is_none_if_nothing_was_measured():
    results = made_results(NAMES, 2, TASK.modalities)
    assert imbalance_part(results, results, TASK, None) is None


@pytest.mark.slow
def test_the_table_has_the_last_measurement_of_all_rows(results, part):
    assert [row[0] for row in part["table"].rows] == NAMES
    # Seeds differ by 0.01; the last measured epoch is number 23.
    first = results["uniform"][0].history["imbalance/dependence_audio"][-1]
    assert column(part, "dependence, audio") == [f"{first + 0.01:.3g} ± 0.01"] * 3
    last = 0.4 + 0.01 + 0.01 * (EPOCHS - 1)  # the mean of seeds 0, 1 and 2
    assert column(part, "accuracy of the head, audio (%)") == [f"{100 * last:.1f} ± 1.0"] * 3
    assert column(part, "accuracy of the head, video (%)")[0] == f"{100 * last + 1:.1f} ± 1.0"
    titles = " ".join(part["table"].titles)
    for what in ("contribution, video", "confidence, audio", "overfitting per gain, audio", "gradient norm, video"):
        assert what in titles
    text = b64decode(part["table"].files["imbalance.csv"].partition("base64,")[2]).decode()
    row = next(csv.DictReader(io.StringIO(text)))
    assert row["scheduler"] == "uniform"
    assert float(row["dependence_audio"]) == pytest.approx(first + 0.01)


@pytest.mark.slow
def test_a_row_without_a_value_has_a_dash_and_a_seed_without_one_does_not_count():
    results = add_imbalance(made_results(NAMES[:2], 2, TASK.modalities), TASK.modalities)
    key = "imbalance/overfitting_audio"
    for trial in results["uniform"]:
        trial.history[key] = [np.nan] * EPOCHS
    results["bss-h"][0].history[key] = [np.nan] * EPOCHS
    results["bss-h"][1].history[key] = [np.nan] * (EPOCHS - 2) + [1.5, np.nan]
    assert column(imbalance_part(results, results, TASK, None), "overfitting per gain, audio") == ["-", "1.5"]


def test_each_metric_that_has_a_reading_is_drawn_with_it(part):
    every = [metric for metric in metrics_of(Metric, TASK) if not isinstance(metric, FinalMetric)]
    read = [metric.reading for metric in every if metric.reading is not None]
    assert {metric.name for metric in metrics_of(ImbalanceMetric) if metric.reading is None} == {
        "head_loss_{modality}",
        "train_head_loss_{modality}",
    }
    assert [text for _, _, text in part["drawings"]] == [reading.text for reading in read]
    for svg, title, _ in part["drawings"]:
        texts = re.findall(r"<text[^>]*>([^<]*)</text>", svg)
        assert [text for text in texts if text in NAMES] == NAMES[:2]
        assert ("audio" in texts) == ("video" in texts) == (title != "Contributions apart")


def test_what_the_trained_networks_alone_have_is_in_the_table_and_explained(monkeypatch):
    monkeypatch.setattr(imbalance, "imbalance_plot", lambda *given: "")  # the titles of the drawings are enough here
    results = add_imbalance(made_results(NAMES[:2], 2, TASK.modalities), TASK.modalities)
    for trials in results.values():
        for seed, trial in enumerate(trials):
            trial.metrics["imbalance/probe_audio"] = 0.5 + 0.2 * seed
    part = imbalance_part(results, results, TASK, {"uniform": np.array([-0.5, -0.3]), "bss-h": np.zeros(2)})
    assert column(part, "linear probe, audio (%)") == ["60.0 ± 14.1"] * 2
    assert column(part, "linear probe, video (%)") == ["-"] * 2
    assert column(part, "score and contributions apart") == ["-0.40 ± 0.14", "0.00 ± 0.00"]
    titles = [title for title, _ in part["finals"]]
    assert titles == ["Linear probe", "Contribution per sample", "Idle samples", "Score and contributions apart"]
    assert "Linear probe" not in [title for _, title, _ in part["drawings"]]


def test_a_line_has_the_measured_epochs_alone(part):
    (svg,) = [svg for svg, title, _ in part["drawings"] if title == "Dependence"]
    lines = [path for path in re.findall(r'<path d="([^"]*)" clip-path[^>]*style="fill: none', svg) if "L" in path]
    lines = [d for d in lines if d.count("M") == 1 and d.count("L") == EPOCHS // 4 - 1]
    assert len(lines) == 2 * 2  # rows x modalities
