import warnings

import numpy as np
import pytest
import sklearn.metrics

from bss.metrics.average_precision import mean_average_precision
from bss.metrics.macro_f1 import macro_f1


def test_macro_f1_by_hand():
    labels = np.array([0, 0, 1, 2])
    scores = np.eye(4, dtype=np.float32)[[0, 1, 1, 3]]  # class 3 never occurs
    # class 0: p 1, r 1/2, F 2/3; class 1: p 1/2, r 1, F 2/3; class 2: 0
    assert macro_f1(labels, scores) == pytest.approx((2 / 3 + 2 / 3 + 0) / 3)


def test_mean_average_precision_by_hand():
    labels = np.array([0, 1, 0])
    scores = np.log(np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3]], dtype=np.float32))
    # class 0 ranks its samples 1 and 3: (1 + 2/3) / 2; class 1 ranks its sample second: 1/2
    assert mean_average_precision(labels, scores) == pytest.approx(((1 + 2 / 3) / 2 + 1 / 2) / 2)


def test_a_class_that_does_not_occur_is_left_out():
    labels = np.array([0, 1])
    scores = np.array([[3.0, 0, 0], [0, 3.0, 0]], dtype=np.float32)
    assert mean_average_precision(labels, scores) == pytest.approx(1.0)
    assert macro_f1(labels, scores) == pytest.approx(1.0)


def test_all_classes_and_predicted_ones_can_count():
    labels = np.array([0, 0, 1, 2])
    scores = np.eye(4, dtype=np.float32)[[0, 1, 1, 3]]
    # As above, and class 3, which is predicted once and never there, counts as 0.
    assert macro_f1(labels, scores, predicted_too=True) == pytest.approx((2 / 3 + 2 / 3 + 0 + 0) / 4)
    assert macro_f1(labels, scores, predicted_too=True) == pytest.approx(
        sklearn.metrics.f1_score(labels, scores.argmax(axis=1), average="macro", zero_division=0.0)
    )
    labels = np.array([0, 1])
    scores = np.array([[3.0, 0, 0], [0, 3.0, 0]], dtype=np.float32)
    assert macro_f1(labels, scores, predicted_too=True) == pytest.approx(1.0)  # class 2 is not predicted
    assert mean_average_precision(labels, scores, all_classes=True) == pytest.approx(2 / 3)


def test_warnings_are_filtered_as_before_for_the_threads_that_share_the_filters(monkeypatch):
    """MLflow, imported by another thread meanwhile, warns, and would stay unusable if that were an error."""
    seen = []

    def average_precision(*arguments, **settings):
        seen.append(list(warnings.filters))
        return 1.0

    monkeypatch.setattr(sklearn.metrics, "average_precision_score", average_precision)
    mean_average_precision(np.array([0, 1]), np.eye(2, dtype=np.float32))
    assert seen == [list(warnings.filters)]
