"""The report with metrics of every kind in place of those of bss."""

import re

import pytest

from bss.metrics import find
from bss.metrics.base import BalanceMetric, SplitMetric
from bss.metrics.inputs import Task
from bss.report.csv_rows import curve_rows
from bss.report.plots import final_plot
from bss.report.results import Result, epoch_names, final_names

TASK = Task(3, ("audio", "image"))
ACCURACY = SplitMetric(name="acc", label="accuracy", better="higher", compute=lambda given: 1.0)
OPTIONAL = BalanceMetric(
    name="agreement",
    history="balance/agreement",
    label="agreement",
    better=None,
    compute=lambda given: None,
    optional=True,
)
RECALL = SplitMetric(
    name="recall_{modality}",
    label="recall of {modality}",
    better="higher",
    compute=lambda given: dict.fromkeys(TASK.modalities, 1.0),
    per_epoch=False,
)
FOR_TWO = SplitMetric(
    name="auc", label="AUC", better="higher", compute=lambda given: 1.0, applies=lambda task: task.classes == 2
)


@pytest.fixture(autouse=True)
def metrics(monkeypatch):
    monkeypatch.setattr(find, "all_metrics", lambda: (ACCURACY, OPTIONAL, RECALL, FOR_TWO))


def test_what_every_trial_must_have():
    assert epoch_names(TASK, "val") == ["val/acc"]
    of_all = ["selected_epoch", "steps", "samples", "flops", "val/acc", "test/acc", "last/test_acc"]
    recalls = [f"{split}/recall_{name}" for split in ("val", "test") for name in TASK.modalities]
    assert final_names(TASK, has_val=True) == [*of_all, *recalls]
    assert final_names(Task(2, ()), has_val=False)[4:] == ["test/acc", "last/test_acc", "test/auc", "last/test_auc"]


def test_an_epoch_without_a_value_is_an_empty_cell_of_the_curves():
    nan = float("nan")
    histories = [{"balance/agreement": [nan, first, 0.5], "val/acc": [0.5, 0.6, 0.7]} for first in (0.25, 0.75)]
    trials = [Result({}, history | {"schedule/steps": [2.0, 3.0, 3.0]}, 1.0, None) for history in histories]
    rows = curve_rows({"uniform": trials}, "honest", TASK)
    head = {"scheduler": "uniform", "protocol": "honest", "split": "val"}
    values = [(0, 2, None, 0.5), (1, 5, 0.5, 0.6), (2, 8, 0.5, 0.7)]
    assert rows == [head | dict(zip(("epoch", "steps", "agreement", "acc"), row, strict=True)) for row in values]


def test_a_metric_of_trained_networks_has_bars_for_each_modality():
    entry = {f"test_recall_{name}": {"mean": 0.5, "sd": 0.1} for name in TASK.modalities}
    comparison = {"schedulers": {"uniform": entry, "control": entry}}
    svg = final_plot(comparison, RECALL, RECALL.series(TASK.modalities, "test"))
    assert 'aria-label="Test recall of each modality of each scheduler"' in svg
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", svg)
    assert {"recall of audio", "recall of image", "test recall of each modality, %", "uniform", "control"} <= set(texts)
