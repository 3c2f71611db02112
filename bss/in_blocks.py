"""Apply a function to many small files in threads, several at a time: a task costs more than a look at a file."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

LARGEST = 64
"""Maximum number of items in a block."""
PER_THREAD = 8
"""Blocks for each thread, unless they would be larger: items differ in cost, and no thread should wait for another."""


def map_in_blocks(pool: ThreadPoolExecutor, call: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """Return ``call(item)`` for each of `items`, in their order; the first exception is raised."""
    size = max(1, min(LARGEST, len(items) // (PER_THREAD * (os.cpu_count() or 1))))
    blocks = [items[start : start + size] for start in range(0, len(items), size)]
    return [result for done in pool.map(lambda block: [call(item) for item in block], blocks) for result in done]
