from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from bss.report import statistics
from bss.report.statistics import auc, deviation, max_t_p, paired_differences, sign_flip_p, t_interval

RESAMPLES = 10_000
small_numbers = st.lists(st.integers(-5120, 5120).map(lambda x: x / 1024), min_size=2, max_size=9)
"""Their sums are exact, so that rounding decides no tie."""


def p_of(differences):
    return sign_flip_p(np.array([differences], dtype=np.float64), RESAMPLES)[0]


def test_five_differences_of_one_sign_have_the_least_possible_p():
    assert p_of([1.0, 2.0, 0.5, 0.1, 3.0]) == pytest.approx(2 / 2**5)


def test_sign_flip_by_hand():
    # differences 1, 2, -0.5: |sum| = 2.5; of 8 patterns |1 + 2 + .5| = 3.5 and 2.5 reach it, each in two signs
    assert p_of([1.0, 2.0, -0.5]) == pytest.approx(4 / 8)


@given(small_numbers)
def test_sign_flip_equals_scipys_exact_permutation_test(values):
    expected = stats.permutation_test(
        (values, np.zeros(len(values))),
        lambda a, b, axis: np.sum(a - b, axis=axis),
        permutation_type="samples",
        n_resamples=np.inf,
        vectorized=True,
    ).pvalue
    assert p_of(values) == pytest.approx(expected, abs=1e-9)


def test_many_seeds_are_sampled_and_agree_with_the_t_test():
    differences = np.random.default_rng(0).normal(0.3, 1, 40)
    assert p_of(differences) == pytest.approx(stats.ttest_1samp(differences, 0).pvalue, abs=0.01)
    assert p_of(differences) == p_of(differences)
    assert p_of(differences + 5) == 1 / (RESAMPLES + 1)  # never 0: the observed vector is one of those that count


@pytest.mark.parametrize("level", [0.9, 0.95])
def test_the_interval_is_scipys_paired_t_interval(level):
    first, second = np.random.default_rng(1).normal(1, 1, (2, 3, 12))
    low, high = t_interval(paired_differences(first, second), level)
    for row in range(3):
        expected = stats.ttest_rel(first[row], second[row]).confidence_interval(level)
        assert (low[row], high[row]) == pytest.approx((expected.low, expected.high))


def test_the_interval_by_hand():
    # 1, 2, 3: mean 2, sd 1; the table's t for 2 degrees of freedom is 4.303
    low, high = t_interval(np.array([1.0, 2.0, 3.0]))
    assert (low, high) == pytest.approx((2 - 4.3027 / 3**0.5, 2 + 4.3027 / 3**0.5), abs=1e-4)


def brute_force_max_t(rows):
    """Step-down max-T over every sign vector with Student's t itself, after Westfall and Young."""
    rows = np.array(rows)
    n = rows.shape[1]

    def t(d):
        return np.abs(d.mean(axis=1)) / (d.std(axis=1, ddof=1) / np.sqrt(n))

    observed = t(rows)
    flips = np.array([t(rows * np.array(signs)) for signs in product((1, -1), repeat=n)])
    order = sorted(range(len(rows)), key=lambda row: -observed[row])
    p, least = np.empty(len(rows)), 0.0
    for place, row in enumerate(order):
        greatest = flips[:, order[place:]].max(axis=1)
        least = max(least, float((greatest >= observed[row] * (1 - 1e-9)).mean()))
        p[row] = least
    return p


@pytest.mark.parametrize("n", [2, 3, 6, 8])
@pytest.mark.parametrize("rows", [1, 2, 5])
def test_max_t_equals_brute_force_over_every_sign_vector(n, rows):
    random = np.random.default_rng(10 * n + rows)
    differences = random.normal(0.4, 1, (rows, n)) + random.normal(0, 0.7, n)
    np.testing.assert_allclose(max_t_p(differences, RESAMPLES), brute_force_max_t(differences), atol=1e-12)


def test_max_t_by_hand():
    # |sum| / sqrt(3 * sum of squares): row a: (1, 1, 1) has 1 and then 1/3; row b: (1, 1, -1) has 1/3 and once 1.
    # Of the 4 sign vectors up to their negative, a reaches 1 with +++, b with ++-: 2 / 4. b itself: all reach 1/3.
    np.testing.assert_allclose(max_t_p(np.array([[1.0, 1, 1], [1, 1, -1]]), RESAMPLES), [0.5, 1.0])
    # Equal rows are one row; a row of zeros is no evidence and does not change the others.
    equal = np.array([[1.0, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 6], [0, 0, 0, 0, 0, 0]])
    np.testing.assert_allclose(max_t_p(equal, RESAMPLES), [2 / 64, 2 / 64, 1.0])


@given(st.integers(2, 7), st.integers(1, 4), st.integers(0, 999))
def test_a_corrected_p_is_never_below_the_raw_one_and_knows_neither_order_nor_scale(n, rows, seed):
    random = np.random.default_rng(seed)
    differences = np.round(random.normal(0.5, 1, (rows, n)), 1)
    corrected, raw = max_t_p(differences, RESAMPLES), sign_flip_p(differences, RESAMPLES)
    assert (corrected >= raw).all()
    assert (corrected <= np.minimum(1, rows * raw.max()) + 1e-12).all()
    order = random.permutation(rows)
    np.testing.assert_allclose(max_t_p(differences[order], RESAMPLES), corrected[order])
    scaled = -differences * random.choice([1e-6, 1.0, 1e6], (rows, 1))
    np.testing.assert_allclose(max_t_p(scaled, RESAMPLES), corrected)


def test_a_single_row_needs_no_correction():
    differences = np.random.default_rng(3).normal(0.5, 1, (1, 9))
    np.testing.assert_allclose(max_t_p(differences, RESAMPLES), sign_flip_p(differences, RESAMPLES))


def test_one_sign_per_seed_is_common_to_all_rows():
    # Eight copies of one row, up to scale, are one test; eight independent rows are not.
    row = np.array([1.0, 2, -0.5, 3, 1, 2, 4])
    copies = row * np.arange(1.0, 9)[:, None]
    np.testing.assert_allclose(max_t_p(copies, RESAMPLES), p_of(row))
    independent = np.random.default_rng(0).normal(0, 1, (7, 7))
    assert max_t_p(np.vstack([row, independent]), RESAMPLES)[0] > p_of(row)


def test_sampled_sign_vectors_approach_all_of_them(monkeypatch):
    differences = np.random.default_rng(4).normal(0.4, 1, (3, 17))
    sampled = max_t_p(differences, 40_000)
    monkeypatch.setattr(statistics, "EXACT_UP_TO", 17)
    statistics._sign_vectors.cache_clear()
    exact = max_t_p(differences, 40_000)
    statistics._sign_vectors.cache_clear()
    np.testing.assert_allclose(sampled, exact, atol=0.01)
    assert not np.array_equal(sampled, exact)


def test_equal_differences_have_no_deviation_and_an_interval_of_no_width():
    differences = paired_differences([0.9, 0.8, 0.7], [0.8, 0.7, 0.6])  # 0.1 up to rounding
    assert deviation(differences) == 0
    assert t_interval(differences) == (pytest.approx(0.1), pytest.approx(0.1))
    assert t_interval(differences)[0] == t_interval(differences)[1]
    assert deviation(paired_differences([0.9, 0.8, 0.7], [0.8, 0.7, 0.6 + 1e-9])) > 0


def test_the_deviation_divides_by_one_less_than_the_number_of_seeds():
    assert deviation(np.array([1.0, 2.0, 4.0, 5.0])) == pytest.approx((10 / 3) ** 0.5)


@pytest.mark.parametrize(
    ("values", "others", "message"),
    [
        ([1.0, np.nan], [1.0, 2.0], "must be finite"),
        ([1.0, 2.0], [np.inf, 2.0], "must be finite"),
        ([1.0, 2.0, 3.0], [1.0, 2.0], "one number per seed on both sides"),
        ([], [], "one number per seed"),
    ],
)
def test_values_that_cannot_be_paired_are_refused(values, others, message):
    with pytest.raises(ValueError, match=message):
        paired_differences(values, others)


def test_auc_by_hand_and_against_sklearn():
    assert auc([3.0, 1.0], [2.0, 1.0]) == pytest.approx((1 + 1 + 0 + 0.5) / 4)
    from sklearn.metrics import roc_auc_score

    random = np.random.default_rng(0)
    a, b = random.integers(0, 9, 50), random.integers(0, 7, 30)
    truth = np.r_[np.ones(50), np.zeros(30)]
    assert auc(a, b) == pytest.approx(roc_auc_score(truth, np.r_[a, b]))
    assert auc([], [1.0]) is None
