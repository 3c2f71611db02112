"""The entries: their names, their order, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest

from bss.errors import BssError
from bss.metrics.base import BalanceMetric, SplitMetric, TrainingMetric
from bss.metrics.find import all_metrics, check_names, metrics_of, values_of
from bss.metrics.inputs import Balance, Predictions, Task, Trained

TASK = Task(3, ("audio", "image"))
LOGITS = np.array([[3, 1, 0], [0, 2, 1], [1, 0, 2], [2, 1, 0]], dtype=np.float32)
LABELS = np.array([0, 1, 2, 1])
HEADS = {"audio": LOGITS, "image": -LOGITS}


def split_metric(name="own", label="own", compute=lambda predictions: 0.5, **more):
    return SplitMetric(name=name, label=label, better="higher", compute=compute, **more)


def test_the_order_is_that_of_the_entries():
    orders = [metric.order for metric in all_metrics()]
    assert orders == sorted(set(orders))
    assert [metric.name for metric in metrics_of(SplitMetric)] == ["acc", "f1_macro", "map", "acc_{modality}"]


def test_metrics_of_a_split_by_hand():
    found = values_of(SplitMetric, Predictions(LOGITS, HEADS, LABELS), TASK, "val")
    assert list(found) == ["val/acc", "val/f1_macro", "val/map", "val/acc_audio", "val/acc_image"]
    assert found["val/acc"] == found["val/acc_audio"] == 3 / 4
    # The greatest of -LOGITS: classes 2, 0, 1, 2.
    assert found["val/acc_image"] == 0
    # F1 of class 0 (one hit, one false), 1 (one hit, one missed) and 2 (one hit).
    assert found["val/f1_macro"] == pytest.approx((2 / 3 + 2 / 3 + 1) / 3)


def test_metrics_of_an_epoch_by_hand():
    trained = Trained(learning_rate=0.1, loss=2.0, fraction=0.5, samples=40, steps=3)
    assert values_of(TrainingMetric, trained, TASK) == {
        "learning_rate": 0.1,
        "train/loss": 2.0,
        "schedule/fraction": 0.5,
        "schedule/samples": 40,
        "schedule/steps": 3,
        "train/flops": None,
        "train/hidden": None,
    }
    assert values_of(TrainingMetric, replace(trained, flops=7), TASK)["train/flops"] == 7
    balance = Balance({"audio": 0.25, "image": 0.75}, np.array([-0.5, 0.0, 1.25]))
    assert values_of(BalanceMetric, balance, TASK) == {"balance/gap": 0.5, "balance/score_mean": 0.25}
    assert values_of(BalanceMetric, replace(balance, scores=None), TASK)["balance/score_mean"] is None


@pytest.mark.parametrize("value", [float("nan"), float("inf"), None, True, "0.5", np.array([1.0, 2.0])])
def test_what_is_no_finite_number_is_refused(value):
    metric = split_metric(compute=lambda predictions: value)
    with pytest.raises(BssError, match=r"metric own: must be a finite number, but val/own is "):
        metric.values(Predictions(LOGITS, HEADS, LABELS), TASK.modalities, "val")


@pytest.mark.parametrize("value", [0.5, {"audio": 0.5}, {"audio": 0.5, "image": 0.5, "text": 0.5}])
def test_a_value_per_modality_is_one_for_each(value):
    metric = split_metric("own_{modality}", "own of {modality}", lambda predictions: value)
    with pytest.raises(BssError, match=r"metric own_\{modality\}: must .* each of audio, image, but"):
        metric.values(Predictions(LOGITS, HEADS, LABELS), TASK.modalities, "val")


def test_numbers_of_numpy_become_plain_ones():
    metric = split_metric(compute=lambda predictions: np.float32(0.5))
    (value,) = metric.values(Predictions(LOGITS, HEADS, LABELS), (), "test").values()
    assert type(value) is float


@pytest.mark.parametrize(
    ("name", "label", "message"),
    [
        ("Own", "own", "`name` must be lower-case letters"),
        ("own/a", "own", "`name` must be lower-case letters"),
        ("own_{modality}_a", "{modality}", "`name` must be lower-case letters"),
        ("own_{modality}", "own", "`label` must be with {modality}"),
        ("own", "own of {modality}", "`label` must be with {modality}"),
    ],
)
def test_names_that_would_not_fit_into_columns_are_refused(name, label, message):
    with pytest.raises(ValueError, match=message):
        split_metric(name, label)


@pytest.mark.parametrize("history", ["val/own", "last/own", "Own", "a/b/c", "balance/own_{modality}"])
def test_columns_that_would_be_read_as_others_are_refused(history):
    with pytest.raises(ValueError, match="`history` must be"):
        BalanceMetric(name="own", history=history, label="own", better=None, compute=lambda balance: 1.0)


@pytest.mark.parametrize(
    ("name", "label", "message"),
    [
        ("acc", "accuracy", r"own\.py: acc can be read as acc of known\.py"),
        ("acc_best", "best", r"own\.py: acc_best can be read as acc_\{modality\} of heads\.py"),
        ("acc_own_{modality}", "{modality}", r"acc_own_\{modality\} can be read as acc_\{modality\} of heads\.py"),
        ("epoch", "epoch", r"own\.py: epoch is already the name of a non-metric column"),
    ],
)
def test_names_that_could_be_taken_for_each_other_are_refused(name, label, message):
    known = {"known.py": split_metric("acc"), "heads.py": split_metric("acc_{modality}", "{modality}")}
    check_names(known)
    with pytest.raises(BssError, match=message):
        check_names({"own.py": split_metric(name, label), **known})


def test_two_metrics_of_an_epoch_have_two_columns():
    def of_balance(name):
        return BalanceMetric(name=name, history="balance/x", label=name, better=None, compute=lambda balance: 1.0)

    with pytest.raises(BssError, match=r"a\.py: a can be read as b of b\.py"):
        check_names({"a.py": of_balance("a"), "b.py": of_balance("b")})
