"""Planned numbers of seeds, against simulated experiments and values of the literature."""

import numpy as np
import pytest
from scipy import stats

from bss.report.seeds import fewest_seeds, seeds_to_bound, seeds_to_show
from bss.report.statistics import max_t_p, t_interval

SIMULATED = 4000


def test_the_sign_flip_test_needs_six_seeds_for_five_percent():
    assert 2 / 2**5 > 0.05 >= 2 / 2**6
    assert fewest_seeds(0.05) == 6
    assert fewest_seeds(0.01) == 8


# As G*Power gives them: two-sided 5 %, power 80 %, effects of 0.5, 0.8 and 0.3 standard deviations.
@pytest.mark.parametrize(("effect", "pairs"), [(0.5, 34), (0.8, 15), (0.3, 90)])
def test_a_plan_for_one_difference_is_that_of_the_paired_t_test(effect, pairs):
    assert seeds_to_show(effect, 1.0, 0.05) == pairs
    assert seeds_to_show(-2 * effect, 2.0, 0.05) == pairs


def test_the_planned_seeds_have_the_power_and_one_fewer_does_not():
    effect, sd = 1.0, 1.4
    n = seeds_to_show(effect, sd, 0.05)
    power = {k: stats.nct.sf(stats.t.ppf(0.975, k - 1), k - 1, np.sqrt(k) * effect / sd) for k in (n - 1, n)}
    assert power[n - 1] < 0.8 <= power[n]
    differences = np.random.default_rng(0).normal(effect, sd, (SIMULATED, n))
    low, _ = t_interval(differences)
    assert (low > 0).mean() == pytest.approx(0.8, abs=0.04)


def test_the_seeds_planned_for_a_margin_keep_equal_schedulers_within_it():
    margin, sd = 1.0, 1.0
    n = seeds_to_bound(margin, sd, 0.05)
    low, high = t_interval(np.random.default_rng(1).normal(0, sd, (SIMULATED, n)))
    assert ((-margin < low) & (high < margin)).mean() + 0.02 >= 0.8
    low, high = t_interval(np.random.default_rng(1).normal(0, sd, (SIMULATED, n - 1)))
    assert ((-margin < low) & (high < margin)).mean() < 0.82


def test_the_plan_for_a_family_has_at_least_the_power_with_the_joint_test():
    rows, effect = 4, 1.5
    n = seeds_to_show(effect, 1.0, 0.05, rows)
    assert n > seeds_to_show(effect, 1.0, 0.05)
    random, shown = np.random.default_rng(2), 0
    for _ in range(500):
        runs = random.normal(size=(rows + 1, n)) / np.sqrt(2)
        differences = runs[1:] - runs[0]
        differences[0] += effect
        shown += max_t_p(differences, 1000)[0] <= 0.05
    assert shown / 500 >= 0.8 - 0.04


def test_plans_have_a_least_and_an_end():
    assert seeds_to_show(5.0, 0.0, 0.05, 8) == 6
    assert seeds_to_show(1e6, 1e-3, 0.05) == 7  # one seed more than the fewest, which leave the test little power
    assert seeds_to_show(0.01, 1.0, 0.05) is None
    assert seeds_to_bound(0.01, 1.0, 0.05) is None
