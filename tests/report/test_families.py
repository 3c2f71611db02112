"""Verdicts on a family of differences."""

import numpy as np
import pytest
from scipy import stats

from bss.report.families import compare_family, decide
from bss.report.statistics import max_t_p

BASE = np.array([50.0, 60.0, 55.0, 52.0, 58.0, 61.0, 57.0, 54.0])


def family(*offsets, correction="max-t", margin=1.0):
    return compare_family(BASE + np.array(offsets), BASE, correction, margin, 1000)


def test_the_numbers_are_those_of_the_paired_t_test_and_the_sign_flip_tests():
    random = np.random.default_rng(0)
    offsets = random.normal(0.5, 1, (3, 8))
    found = family(*offsets)
    for row, difference in zip(offsets, found, strict=True):
        expected = stats.ttest_rel(BASE + row, BASE).confidence_interval(0.95)
        assert difference.difference == pytest.approx(row.mean())
        assert difference.sd == pytest.approx(np.std(row, ddof=1))
        assert (difference.low, difference.high) == pytest.approx((expected.low, expected.high))
    np.testing.assert_allclose([d.p_corrected for d in found], max_t_p(offsets, 1000))
    assert all(d.p <= d.p_corrected for d in found)


NOISE = np.array([0.3, -0.3, 0.2, -0.2, 0.1, -0.1, 0.4, -0.4])


def test_each_verdict():
    better, worse, within, unclear = family(3 + NOISE, -3 + NOISE, NOISE, 8 * NOISE + 0.5)
    assert [d.verdict for d in (better, worse, within, unclear)] == ["better", "worse", "within-margin", "inconclusive"]
    # a smaller margin takes the third one's away
    assert family(NOISE, margin=0.2)[0].verdict == "inconclusive"


def test_the_corrected_p_decides_unless_there_is_no_correction():
    # One weak difference among many noisy ones: clear by itself, not among eight.
    random = np.random.default_rng(1)
    weak = 0.9 + np.array([1.0, -0.6, 0.4, 0.9, -1.4, 0.2, -0.4, 1.3])
    offsets = [weak, *random.normal(0, 2, (7, 8))]
    alone, together = family(*offsets, correction="none")[0], family(*offsets)[0]
    assert alone.p == together.p <= 0.05 < together.p_corrected
    assert alone.p_corrected is None
    assert (alone.verdict, together.verdict) == ("better", "inconclusive")
    assert together.seeds_needed > alone.seeds_needed


@pytest.mark.parametrize(
    ("low", "high", "p", "verdict"),
    [
        (0.1, 0.4, 0.05, "better"),  # of statistical weight, though smaller than the margin
        (0.1, 0.4, 0.06, "within-margin"),
        (0.1, 2.0, 0.06, "inconclusive"),
        (-0.1, 2.0, 0.01, "inconclusive"),  # the test alone is not enough
        (-2.0, -0.1, 0.01, "worse"),
        (-0.99, 0.99, 0.9, "within-margin"),
        (-1.0, 0.5, 0.9, "inconclusive"),  # the margin itself is not within it
    ],
)
def test_the_rule(low, high, p, verdict):
    assert decide(low, high, p, 1.0) == verdict


def test_one_seed_has_a_difference_and_nothing_else():
    (found,) = compare_family([[52.0]], [50.0], "max-t", 1.0, 1000)
    assert found.difference == 2
    assert [found.sd, found.low, found.high, found.p, found.p_corrected, found.seeds_needed] == [None] * 6
    assert found.verdict == "inconclusive"


def test_two_seeds_have_the_wide_interval_of_one_degree_of_freedom():
    (found,) = compare_family([[51.0, 53.0]], [50.0, 50.0], "max-t", 1.0, 1000)
    assert (found.low, found.high) == pytest.approx((2 - 12.7062, 2 + 12.7062), abs=1e-3)
    assert found.p == 0.5 == 1.0 / 2
    assert found.verdict == "inconclusive"


def test_fewer_than_six_seeds_give_no_verdict_even_on_equal_differences():
    values = [BASE[:5] + 10, BASE[:5]]
    assert [d.verdict for d in compare_family(values, BASE[:5], "max-t", 1.0, 1000)] == ["inconclusive"] * 2


def test_equal_differences_are_certain_in_the_interval_but_not_in_p():
    ten, none = compare_family([BASE[:6] + 10, BASE[:6]], BASE[:6], "max-t", 1.0, 1000)
    assert (ten.sd, ten.low, ten.high) == (0, 10, 10)
    assert ten.p == ten.p_corrected == 2 / 2**6
    assert ten.verdict == "better"
    assert (none.low, none.high, none.p, none.verdict) == (0, 0, 1, "within-margin")


def test_a_seed_without_a_number_is_refused():
    with pytest.raises(ValueError, match="must be finite"):
        compare_family([[50.0, np.nan]], [50.0, 50.0], "max-t", 1.0, 1000)


def test_small_differences_are_planned_for_the_margin():
    spread = 2 * (NOISE - NOISE.mean())
    at_zero, at_half, beyond = (family(spread + d, correction="none", margin=0.4)[0] for d in (0.0, 0.2, 0.6))
    assert at_zero.seeds_needed == at_half.seeds_needed > beyond.seeds_needed


@pytest.mark.slow
def test_noise_alone_gives_a_verdict_in_at_most_five_percent_of_families():
    random = np.random.default_rng(5)
    false = {"max-t": 0, "none": 0}
    for _ in range(600):
        runs = random.normal(size=(9, 8))
        for correction in false:
            found = compare_family(runs[1:], runs[0], correction, 0.01, 1000)
            false[correction] += any(d.verdict in ("better", "worse") for d in found)
    assert false["max-t"] / 600 <= 0.05 + 2 * (0.05 * 0.95 / 600) ** 0.5
    assert false["none"] / 600 > 0.15
