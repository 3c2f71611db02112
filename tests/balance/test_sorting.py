import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from bss.balance import Heuristic, Learned, SequenceSampler, sorting
from bss.balance.draw import generator
from bss.balance.ranking import rank
from bss.balance.sorting import stable_argsort


@pytest.fixture(params=[1 << 25, 7], ids=["one part", "many parts"])
def by_cells(request, monkeypatch):
    """Few keys are sorted as many are."""
    monkeypatch.setattr(sorting, "FEW", 0)
    monkeypatch.setattr(sorting, "PART", request.param)


numbers = st.floats(allow_nan=False) | st.floats(-1, 1) | st.integers(-3, 3).map(float)


@pytest.mark.parametrize("part", [1 << 25, 7])
@given(st.lists(numbers, max_size=60))
def test_the_order_is_that_of_a_stable_sort(part, keys):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sorting, "FEW", 0)
        patch.setattr(sorting, "PART", part)
        np.testing.assert_array_equal(stable_argsort(keys), np.argsort(keys, kind="stable"))


RANDOM = np.random.default_rng(0)
MANY = {
    "continuous": RANDOM.standard_normal(50_000),
    "few values": RANDOM.integers(0, 9, 50_000),
    "all equal": np.ones(50_000),
    "single precision": RANDOM.random(50_000, dtype=np.float32),
    "one outlier crowds the others into few cells": np.append(RANDOM.random(50_000), 1e12),
    "infinite": np.append(RANDOM.random(50_000), [-np.inf, np.inf]),
    "subnormal": RANDOM.random(50_000) * 1e-310,
}


@pytest.mark.parametrize("keys", MANY.values(), ids=MANY)
@pytest.mark.parametrize("part", [1 << 25, 10_000])
def test_many_keys_of_every_kind(keys, part, monkeypatch):
    monkeypatch.setattr(sorting, "FEW", 0)
    monkeypatch.setattr(sorting, "PART", part)
    np.testing.assert_array_equal(stable_argsort(keys), np.argsort(keys, kind="stable"))


def test_bss_l_sorts_the_keys_of_one_stream_of_exponentials():
    scores = RANDOM.uniform(-1, 1, 300_000)  # more than one chunk of draws
    keys = np.log(generator(5, "learned", 2).standard_exponential(len(scores))) - scores
    np.testing.assert_array_equal(Learned().sequence(scores, 2, 5), np.argsort(keys, kind="stable"))


def test_rankings_sort_by_score_and_one_stream_of_ties():
    scores, labels = RANDOM.integers(0, 50, 200_000) / 50, RANDOM.integers(0, 4, 200_000)
    ties = generator(3, "ranking").random(len(scores))
    np.testing.assert_array_equal(Heuristic().rank(scores, 3), np.lexsort((ties, -scores)))
    by_class = np.lexsort((ties, -scores, labels))
    place = np.empty(len(scores))
    for label in range(4):
        members = by_class[labels[by_class] == label]
        place[members] = (np.arange(len(members)) + 0.5) / len(members)
    expected = np.lexsort((ties, place))
    np.testing.assert_array_equal(Heuristic(stratified=True).rank(scores, 3, labels), expected)


@pytest.mark.parametrize("part", [1 << 25, 7])
@given(
    st.lists(st.sampled_from([-np.inf, -1.0, -0.0, 0.0, 5e-324, 0.5, np.inf]) | st.floats(allow_nan=False), max_size=60)
)
def test_a_ranking_is_a_stable_sort_by_score_of_the_order_by_ties(part, scores):
    ties = generator(3, "ranking").random(len(scores))
    by_ties = np.argsort(ties, kind="stable")
    expected = by_ties[np.argsort(-np.array(scores)[by_ties], kind="stable")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sorting, "FEW", 0)
        patch.setattr(sorting, "PART", part)
        np.testing.assert_array_equal(rank(scores, generator(3, "ranking")), expected)


def test_equal_scores_with_equal_ties_keep_their_order():
    class Halves:
        def random(self, n):
            return np.arange(n) % 2 / 2  # so many draws are alike, which a real generator does not show

    scores = np.array([0.0, 1.0, -0.0, 0.0, 1.0, 0.0])
    np.testing.assert_array_equal(rank(scores, Halves()), [4, 1, 0, 2, 3, 5])


@pytest.mark.slow
def test_samples_of_one_score_come_in_any_order(by_cells):
    scores = np.array([0.5, 0.9, 0.5, 0.5, 0.1, 0.5])
    rankings = np.array([Heuristic().rank(scores, seed) for seed in range(6_000)])
    assert (rankings[:, 0] == 1).all()
    assert (rankings[:, 5] == 4).all()
    orders, counts = np.unique(rankings[:, 1:5], axis=0, return_counts=True)
    assert len(orders) == 24
    assert chisquare(counts).pvalue > 1e-3


@pytest.mark.slow
def test_the_law_holds_for_the_sort_of_many(by_cells):
    scores = np.array([-1.0, -0.2, 0.4, 1.0])
    draws = np.array([Learned().sequence(scores, epoch, 9) for epoch in range(6_000)])
    weights = np.exp(scores)
    first = np.bincount(draws[:, 0], minlength=4)
    assert chisquare(first, weights / weights.sum() * len(draws)).pvalue > 1e-3
    left = weights[1:3] / weights[1:3].sum()  # of two samples the law says which of them comes before the other
    earlier = (np.argsort(draws, axis=1)[:, 1] < np.argsort(draws, axis=1)[:, 2]).sum()
    assert chisquare([earlier, len(draws) - earlier], left * len(draws)).pvalue > 1e-3


def test_the_shards_of_the_ranks_are_views_of_one_sequence():
    samplers = [SequenceSampler(23, Learned(), 0, scores=np.arange(23) / 23, rank=r, ranks=4) for r in range(4)]
    for sampler in samplers:
        sampler.set_epoch(1)
        assert np.shares_memory(sampler.shard, sampler.sequence)
        assert list(sampler)[:5] == sampler.shard[:5].tolist()


MEASURE = """
import sys
from pathlib import Path
import numpy as np, torch
from bss.balance import Heuristic, Learned
n = 10_000_000

def peak():  # getrusage would report that of the parent process if it is larger
    return 1024 * int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])

torch.sort(torch.arange(10_000, 0, -1, dtype=torch.int32), stable=True)
before = peak()
scores = np.random.default_rng(0).random(n)
what = Learned() if sys.argv[1] == "permutation" else Heuristic()
result = what.sequence(scores, 0, 0) if sys.argv[1] == "permutation" else what.rank(scores, 0)
assert len(result) == n
print((peak() - before) / n)
"""


@pytest.mark.process
@pytest.mark.parametrize("what", ["permutation", "ranking"])
def test_a_hundred_million_samples_fit_into_8_gigabytes(what):
    """Measured with a tenth of them, which are sorted in one part: more bytes a sample than in several."""
    done = subprocess.run([sys.executable, "-c", MEASURE, what], capture_output=True, text=True, check=True)
    assert 16 < float(done.stdout) < 70  # bytes a sample: scores and result, and 80 are 8 GB
