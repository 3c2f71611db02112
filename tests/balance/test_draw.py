from itertools import permutations

import numpy as np
import pytest
from scipy.stats import chisquare

from bss.balance.draw import generator, weighted_permutation
from bss.balance.schedulers import Learned, Uniform


def probability_without_replacement(order, weights):
    """Multiply the probabilities of each draw from what is left in the urn."""
    left, probability = sum(weights), 1.0
    for index in order:
        probability *= weights[index] / left
        left -= weights[index]
    return probability


def frequencies(draws, orders):
    found = dict.fromkeys(orders, 0)
    for draw in draws:
        found[tuple(draw)] += 1
    return np.array([found[order] for order in orders])


@pytest.mark.slow
@pytest.mark.parametrize("weights", [(1, 1, 1), (1, 2, 5), (0.1, 1, 1, 8)])
def test_whole_permutations_follow_the_law_of_drawing_without_replacement(weights):
    orders = list(permutations(range(len(weights))))
    random = np.random.default_rng(7)
    draws = [weighted_permutation(np.log(weights), random) for _ in range(20_000)]
    expected = np.array([probability_without_replacement(order, weights) for order in orders])
    assert expected.sum() == pytest.approx(1)
    assert chisquare(frequencies(draws, orders), expected * len(draws)).pvalue > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("probability", ["softmax", "shifted"])
@pytest.mark.parametrize("order", ["balanced-first", "imbalanced-first"])
def test_bss_l_draws_with_the_probabilities_it_says(probability, order):
    scores = np.array([-0.9, 0.1, 0.8])
    scheduler = Learned(probability=probability, order=order)
    sign = 1 if order == "balanced-first" else -1
    weights = np.exp(sign * scores) if probability == "softmax" else 1.01 + sign * scores
    np.testing.assert_allclose(scheduler.probabilities(scores), weights / weights.sum())
    orders = list(permutations(range(3)))
    draws = [scheduler.sequence(scores, epoch, seed=3) for epoch in range(8_000)]
    expected = np.array([probability_without_replacement(o, weights) for o in orders]) * len(draws)
    assert chisquare(frequencies(draws, orders), expected).pvalue > 1e-3


def test_uniform_shuffling_makes_all_permutations_equally_likely():
    orders = list(permutations(range(4)))
    draws = [Uniform().sequence(4, epoch, seed=5) for epoch in range(12_000)]
    assert chisquare(frequencies(draws, orders)).pvalue > 1e-3


def test_weights_hundreds_of_orders_of_magnitude_apart():
    order = weighted_permutation([-800.0, 0.0, 800.0], np.random.default_rng(0))
    assert order.tolist() == [2, 1, 0]


def test_weights_must_be_finite():
    with pytest.raises(ValueError, match="finite"):
        weighted_permutation([0.0, np.nan], np.random.default_rng(0))


def test_generators_differ_by_seed_purpose_and_epoch_and_stay_the_same():
    draws = {(s, p, e): generator(s, p, e).integers(2**62) for s in (0, 1) for p in ("a", "b") for e in (0, 1)}
    assert len(set(draws.values())) == 8
    assert draws[1, "b", 1] == generator(1, "b", 1).integers(2**62)
