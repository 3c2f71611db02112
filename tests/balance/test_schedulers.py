import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bss.balance.pacing import Pacing
from bss.balance.schedulers import Heuristic, Learned, Uniform

some_scores = st.lists(st.floats(-1, 1), min_size=1, max_size=60)


@given(some_scores, st.integers(0, 50), st.integers(0, 2**31))
def test_every_epoch_of_bss_h_is_a_shuffle_of_the_balanced_part(scores, epoch, seed):
    scheduler = Heuristic(Pacing(grow_epochs=20))
    ranking = scheduler.rank(scores, seed)
    sequence = scheduler.sequence(ranking, epoch, seed)
    count = max(1, math.floor(len(scores) * scheduler.pacing.fraction(epoch)))
    assert sorted(sequence) == sorted(ranking[:count])
    shown, hidden = np.array(scores)[ranking[:count]], np.array(scores)[ranking[count:]]
    assert len(hidden) == 0 or shown.min() >= hidden.max()


@given(some_scores, st.integers(0, 5), st.integers(0, 2**31))
def test_uniform_and_bss_l_show_every_sample_once(scores, epoch, seed):
    n = len(scores)
    assert sorted(Uniform().sequence(n, epoch, seed)) == list(range(n))
    assert sorted(Learned().sequence(scores, epoch, seed)) == list(range(n))


@given(some_scores, st.integers(0, 2**31), st.floats(0, 0.99))
def test_trimming_never_admits_the_worst_share(scores, seed, trim):
    ranking = Heuristic(trim=trim).rank(scores, seed)
    left_out = sorted(set(range(len(scores))) - set(ranking.tolist()))
    assert len(left_out) == math.floor(len(scores) * trim)
    if left_out:
        assert np.array(scores)[left_out].max() <= np.array(scores)[ranking].min()


@given(st.lists(st.tuples(st.floats(-1, 1), st.integers(0, 4)), min_size=1, max_size=80), st.integers(0, 2**31))
def test_every_prefix_of_a_stratified_ranking_has_the_classes_in_proportion(samples, seed):
    scores, labels = (np.array(column) for column in zip(*samples, strict=True))
    ranking = Heuristic(stratified=True).rank(scores, seed, labels)
    assert sorted(ranking) == list(range(len(samples)))
    for label in set(labels.tolist()):
        of_class = labels[ranking] == label
        share = of_class.mean()
        prefix = np.cumsum(of_class)
        assert (
            np.abs(prefix - share * np.arange(1, len(samples) + 1)) <= 0.5 + share * len(set(labels)) / 2 + 1e-9
        ).all()
        assert (np.diff(scores[ranking[of_class]]) <= 0).all()


def test_the_reversed_order_is_the_reversed_ranking():
    scores = np.random.default_rng(0).permutation(20) / 20
    forward = Heuristic().rank(scores, 0)
    np.testing.assert_array_equal(Heuristic(order="imbalanced-first").rank(scores, 0), forward[::-1])


@pytest.mark.parametrize("probability", ["softmax", "shifted"])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_bss_l_refuses_scores_that_are_not_finite(probability, bad):
    scheduler = Learned(probability=probability)
    for use in (scheduler.probabilities, lambda scores: scheduler.sequence(scores, 0, 0)):
        with pytest.raises(ValueError, match="must be finite"):
            use([0.5, bad, 0.0])


def test_the_control_knows_nothing_of_the_scores():
    a, b = np.arange(50.0), -np.arange(50.0)
    control = Heuristic(ranking="random")
    np.testing.assert_array_equal(control.rank(a, 3), control.rank(b, 3))
    assert control.rank(a, 3).tolist() != control.rank(a, 4).tolist()


def test_ties_are_broken_at_random_but_the_same_way_for_a_seed():
    rankings = {tuple(Heuristic().rank(np.zeros(6), seed)) for seed in range(40)}
    assert len(rankings) > 30
    np.testing.assert_array_equal(Heuristic().rank(np.zeros(6), 1), Heuristic().rank(np.zeros(6), 1))


def test_a_young_curriculum_never_shows_fewer_than_the_minimum():
    scheduler = Heuristic(Pacing(start=0.01))
    ranking = scheduler.rank(np.arange(100.0), 0)
    assert len(scheduler.sequence(ranking, 0, 0, minimum=32)) == 32
    assert len(scheduler.sequence(ranking[:10], 0, 0, minimum=32)) == 10


# A change here means that results of earlier versions can no longer be reproduced.
PINNED = {
    "uniform": [3, 2, 4, 7, 5, 1, 6, 0],
    "heuristic": [7, 5, 6, 3, 4],
    "learned": [5, 7, 3, 1, 6, 4, 2, 0],
}


def test_sequences_are_pinned_to_the_bit():
    scores = np.linspace(-1, 1, 8)
    assert Uniform().sequence(8, 2, 5).tolist() == PINNED["uniform"]
    heuristic = Heuristic(Pacing(grow_epochs=4))
    assert heuristic.sequence(heuristic.rank(scores, 5), 2, 5).tolist() == PINNED["heuristic"]
    assert Learned().sequence(scores, 2, 5).tolist() == PINNED["learned"]


def test_the_probabilities_are_those_of_the_scripts():
    scores = [1.0, 0.0, -0.5]
    np.testing.assert_allclose(
        Learned(probability="shifted").probabilities(scores), np.array([2.01, 1.01, 0.51]) / 3.53
    )
    np.testing.assert_allclose(Learned(probability="one-plus").probabilities(scores), np.array([2, 1, 0.5]) / 3.5)
    turned = Learned(probability="one-plus", order="imbalanced-first").probabilities(scores)
    np.testing.assert_allclose(turned, np.array([0, 1, 1.5]) / 2.5, atol=1e-300)


def test_a_sample_without_probability_comes_last():
    scores = [-1.0, 0.9, -1.0, 0.1]
    orders = [Learned(probability="one-plus").sequence(scores, 0, seed).tolist() for seed in range(50)]
    assert all({*order[2:]} == {0, 2} for order in orders)
    assert {order[2] for order in orders} == {0, 2}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Heuristic(trim=1.0), "`trim` must be"),
        (lambda: Heuristic(order="reversed"), "`order` must be"),
        (lambda: Heuristic(ranking="loss"), "`ranking` must be"),
        (lambda: Heuristic().rank([0.0, math.nan], 0), "finite"),
        (lambda: Heuristic(stratified=True).rank([0.0, 1.0], 0), "label of each of the 2 samples"),
        (lambda: Learned(beta=0.0), "`beta` must be"),
        (lambda: Learned(every=0), "`every` must be"),
        (lambda: Learned(probability="sigmoid"), "`probability` must be"),
        (lambda: Learned(probability="shifted").probabilities([-1.5, 0]), r"scores in \[-1, 1\]"),
        (
            lambda: Learned(probability="one-plus").probabilities([-1.5, 0]),
            r"`one-plus` needs scores in \[-1, 1\]",
        ),
    ],
)
def test_wrong_values_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
