"""Many small files in threads: every item once, in order, whatever the number of items."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from bss.in_blocks import map_in_blocks


# Four threads: fewer than 64 items are a task each, 133 are tasks of 133 // 32 = 4, and no task has more than 64.
@pytest.mark.parametrize(("count", "tasks"), [(0, 0), (1, 1), (63, 63), (133, 34), (20483, 321)])
def test_each_item_is_taken_once_and_results_keep_their_order(count, tasks, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    taken, submitted = [], []
    with ThreadPoolExecutor(4) as pool:
        submit = pool.submit
        pool.submit = lambda *given: submitted.append(given) or submit(*given)
        assert map_in_blocks(pool, lambda i: taken.append(i) or -i, range(count)) == [-i for i in range(count)]
    assert sorted(taken) == list(range(count))
    assert len(submitted) == tasks


def test_items_are_taken_in_several_threads_at_once():
    both = threading.Barrier(2, timeout=60)
    with ThreadPoolExecutor(2) as pool:
        assert map_in_blocks(pool, lambda i: both.wait() >= 0, range(2)) == [True, True]


def test_the_first_exception_is_raised():
    def refuse(item):
        raise ValueError(item)

    with ThreadPoolExecutor(2) as pool, pytest.raises(ValueError, match=r"^0$"):
        map_in_blocks(pool, refuse, range(3))
