import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bss.balance.score import BalanceScore, min_max, robust_min_max, smooth

PAIR = BalanceScore()


def test_the_papers_score_by_hand():
    # similarity 0.2, 0.6, 1.0 -> 0, .5, 1; loss 4, 2, 0 -> 1, .5, 0; score -1, 0, 1
    score = PAIR({"prediction_similarity": [0.2, 0.6, 1.0], "training_loss": [4.0, 2.0, 0.0]})
    np.testing.assert_allclose(score, [-1, 0, 1], atol=1e-12)


def test_signs_and_range_of_other_criteria():
    score = BalanceScore(("feature_similarity", "gradient_magnitude", "training_loss"))
    values = {"feature_similarity": [0, 1], "gradient_magnitude": [0, 5], "training_loss": [3, 3]}
    np.testing.assert_allclose(score(values), [0, 0])  # 0 - 0 - 0 and 1 - 1 - 0
    assert score.range == (-2, 1)


def test_equal_values_tell_nothing_apart():
    score = PAIR({"prediction_similarity": [0.7, 0.7, 0.7], "training_loss": [1.0, 2.0, 3.0]})
    np.testing.assert_allclose(score, [0, -0.5, -1])


def test_values_that_are_not_finite_are_the_most_imbalanced():
    values = {"prediction_similarity": [1.0, np.nan, 0.0], "training_loss": [0.0, 1.0, np.inf]}
    with pytest.warns(RuntimeWarning, match="1 of 3 values of"):
        score = PAIR(values)
    np.testing.assert_allclose(score, [1.0, -1.0, -1.0])


def test_nothing_finite_is_an_error():
    with pytest.raises(ValueError, match="diverged"):
        BalanceScore(("training_loss",))({"training_loss": [np.nan, np.inf]})


def test_one_outlier_compresses_min_max_but_not_robust():
    loss = np.append(np.linspace(0, 1, 99), 1000.0)
    assert np.ptp(min_max(loss)[:99]) < 0.01
    assert np.ptp(robust_min_max(loss)[:99]) > 0.95


def test_robust_falls_back_where_almost_all_values_are_equal():
    values = np.zeros(100)
    values[3] = 1.0
    np.testing.assert_array_equal(robust_min_max(values), values)


@pytest.mark.parametrize(
    ("criteria", "values", "message"),
    [
        (("training_loss",), {"loss": [1.0]}, "needs the criterion `training_loss`"),
        (("training_loss",), {"training_loss": []}, "at least 1"),
        (
            ("prediction_similarity", "training_loss"),
            {"prediction_similarity": [1.0], "training_loss": [1, 2]},
            "1",
        ),
    ],
)
def test_wrong_values(criteria, values, message):
    with pytest.raises(ValueError, match=message):
        BalanceScore(criteria)(values)


@pytest.mark.parametrize("criteria", [(), ("training_loss", "training_loss"), ("entropy",)])
def test_wrong_criteria(criteria):
    with pytest.raises(ValueError, match="`criteria` must be one or more of"):
        BalanceScore(criteria)


finite = st.floats(allow_nan=False, allow_infinity=False, width=64)


@given(st.lists(st.tuples(finite, finite), min_size=1, max_size=30))
def test_the_score_stays_in_its_range_and_keeps_the_order(pairs):
    similarity, loss = np.array(pairs).T
    score = PAIR({"prediction_similarity": similarity, "training_loss": loss})
    assert np.isfinite(score).all()
    assert score.min() >= -1
    assert score.max() <= 1
    better = (similarity[:, None] >= similarity) & (loss[:, None] <= loss)
    assert (score[:, None] >= score)[better].all()


def test_smoothing_by_hand():
    first = smooth(None, [1.0, 0.0], 0.6)
    np.testing.assert_allclose(first, [1, 0])
    np.testing.assert_allclose(smooth(first, [0.0, 1.0], 0.6), [0.4, 0.6])
