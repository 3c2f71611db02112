import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bss.balance.pacing import Pacing

SHAPES = ("root", "linear", "geometric", "step")


def test_root_pacing_is_the_papers_formula():
    pacing = Pacing("root", start=0.1, grow_epochs=40)
    for t in (0, 1, 17, 40, 99):
        expected = min(1.0, math.sqrt((1 - 0.1**2) / 40 * t + 0.1**2))
        assert pacing.fraction(t) == pytest.approx(expected, abs=1e-12)


def test_the_scripts_count_epochs_from_one():
    assert Pacing(first_epoch=1).fraction(0) == pytest.approx(Pacing().fraction(1))


def test_the_other_shapes_by_hand():
    assert Pacing("linear", 0.2, 8).fraction(4) == pytest.approx(0.6)
    assert Pacing("geometric", 0.01, 2).fraction(1) == pytest.approx(0.1)
    step = Pacing("step", 0.2, 8, steps=4)
    assert [round(step.fraction(t), 6) for t in range(9)] == [0.2, 0.2, 0.4, 0.4, 0.6, 0.6, 0.8, 0.8, 1.0]


@given(st.sampled_from(SHAPES), st.floats(0.01, 1), st.integers(1, 60), st.integers(0, 1), st.integers(1, 9))
def test_every_pacing_grows_to_one(shape, start, grow_epochs, first_epoch, steps):
    pacing = Pacing(shape, start, grow_epochs, first_epoch, steps)
    fractions = [pacing.fraction(t) for t in range(grow_epochs + 2)]
    assert all(a <= b + 1e-12 for a, b in pairwise(fractions))
    assert fractions[0] >= start - 1e-12
    assert fractions[grow_epochs] == fractions[-1] == 1.0


@pytest.mark.parametrize(
    "wrong",
    [{"shape": "cosine"}, {"start": 0}, {"start": 1.1}, {"grow_epochs": 0}, {"first_epoch": 2}, {"steps": 0}],
)
def test_values_out_of_range(wrong):
    with pytest.raises(ValueError, match=f"`{next(iter(wrong))}` must be"):
        Pacing(**wrong)
