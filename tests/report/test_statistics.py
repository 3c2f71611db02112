import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from bss.report.statistics import auc, paired_difference, sign_flip_p


def test_five_differences_of_one_sign_have_the_least_possible_p():
    assert sign_flip_p(np.array([1.0, 2.0, 0.5, 0.1, 3.0])) == pytest.approx(2 / 2**5)


def test_sign_flip_by_hand():
    # differences 1, 2, -0.5: |sum| = 2.5; of 8 patterns |1 + 2 + .5| = 3.5 and 2.5 reach it, each in two signs
    assert sign_flip_p(np.array([1.0, 2.0, -0.5])) == pytest.approx(4 / 8)


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=9))
def test_sign_flip_equals_scipys_exact_permutation_test(differences):
    values = np.round(differences, 3)
    expected = stats.permutation_test(
        (values, np.zeros_like(values)),
        lambda a, b, axis: np.sum(a - b, axis=axis),
        permutation_type="samples",
        n_resamples=np.inf,
        vectorized=True,
    ).pvalue
    assert sign_flip_p(values) == pytest.approx(expected, abs=1e-9)


def test_many_seeds_are_sampled_and_agree_with_the_t_test():
    differences = np.random.default_rng(0).normal(0.3, 1, 40)
    assert sign_flip_p(differences) == pytest.approx(stats.ttest_1samp(differences, 0).pvalue, abs=0.01)


def test_the_interval_agrees_with_scipys_bootstrap():
    values = np.random.default_rng(1).normal(1, 1, 12)
    found = paired_difference(values, np.zeros(12), 10_000)
    expected = stats.bootstrap((values,), np.mean, method="percentile", random_state=1).confidence_interval
    assert found.difference == pytest.approx(values.mean())
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.03)


def test_equal_differences_have_an_interval_without_width():
    found = paired_difference([0.9, 0.8, 0.7], [0.8, 0.7, 0.6], 1000)
    assert found.low == pytest.approx(0.1)
    assert found.high == pytest.approx(0.1)


def test_one_seed_has_no_interval():
    found = paired_difference([0.9], [0.8], 1000)
    assert (found.low, found.high, found.p) == (None, None, None)


def test_auc_by_hand_and_against_sklearn():
    assert auc([3.0, 1.0], [2.0, 1.0]) == pytest.approx((1 + 1 + 0 + 0.5) / 4)
    from sklearn.metrics import roc_auc_score

    random = np.random.default_rng(0)
    a, b = random.integers(0, 9, 50), random.integers(0, 7, 30)
    truth = np.r_[np.ones(50), np.zeros(30)]
    assert auc(a, b) == pytest.approx(roc_auc_score(truth, np.r_[a, b]))
    assert auc([], [1.0]) is None
