import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bss.data.decode.bad_sample import BadSampleError
from bss.data.decode.spans import WHOLE, Span, consecutive, spread, thin


@pytest.mark.parametrize(
    ("available", "count", "expected"),
    [
        (9, 3, [1, 4, 7]),
        (10, 1, [5]),
        (4, 4, [0, 1, 2, 3]),
        (20, 3, [3, 10, 16]),
        (2, 4, [0, 0, 1, 1]),
        (1, 3, [0] * 3),
    ],
)
def test_frames_are_the_middle_ones_of_equal_parts(available, count, expected):
    assert spread(available, count).tolist() == expected


@given(available=st.integers(1, 10**6), count=st.integers(1, 200))
def test_spread_frames_exist_ascend_and_lie_the_same_seen_from_either_end(available, count):
    frames = spread(available, count)
    assert len(frames) == count
    assert 0 <= frames.min() <= frames.max() < available
    assert (np.diff(frames) >= 0).all()
    assert np.abs(available - 1 - frames[::-1] - frames).max() <= 1


def test_thinning_takes_the_frame_that_is_shown_at_each_moment():
    assert thin(np.arange(30) / 10, 1.0).tolist() == [0, 10, 20]
    assert thin(np.arange(31) / 10, 1.0).tolist() == [0, 10, 20, 30]
    assert thin(np.array([5.0, 5.9, 6.1, 9.0]), 1.0).tolist() == [0, 1, 2, 2, 3]
    # Frames at 29.97 per second, stamped in whole milliseconds: the one for 1.001 s is number 30.
    assert thin(np.round(np.arange(90) * 1001 / 30_000, 3), 1000 / 1001).tolist() == [0, 30, 60]
    assert thin(np.zeros(1), 25.0).tolist() == [0]


def test_frames_that_are_all_shown_at_one_time_are_refused():
    with pytest.raises(BadSampleError, match="the same timestamp"):
        thin(np.zeros(6), 5.0)


def test_a_long_part_is_cut_and_a_short_one_filled():
    assert consecutive(10, WHOLE, 4, "pad", "centre").tolist() == [3, 4, 5, 6]
    assert consecutive(10, WHOLE, 4, "pad", "start").tolist() == [0, 1, 2, 3]
    assert consecutive(10, Span(2, 9), 4, "pad", "centre").tolist() == [3, 4, 5, 6]
    assert consecutive(10, Span(6), 6, "pad", "centre").tolist() == [6, 7, 8, 9, 9, 9]
    assert consecutive(10, Span(None, 2), 5, "tile", "centre").tolist() == [0, 1, 0, 1, 0]


@pytest.mark.parametrize("span", [Span(3, 11), Span(10), Span(12, 20)])
def test_frames_that_a_file_has_not_are_reported(span):
    with pytest.raises(BadSampleError, match="has 10 frames, but the manifest asks for frames"):
        consecutive(10, span, 4, "pad", "centre")
