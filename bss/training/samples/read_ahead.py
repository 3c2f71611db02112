"""Prefetching: threads load the next batches while the training works on the current one."""

from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch

Item = TypeVar("Item")
Batch = TypeVar("Batch")

AHEAD = {"cuda": 4, "cpu": 2}
"""Prefetch depth, one thread per batch. On GPU we prefetch stored samples; on CPU the (larger) network inputs."""


class Memory:
    """Memory for one batch, reused for later ones; pinned if it is copied to a GPU."""

    def __init__(self, device: torch.device) -> None:
        self._pinned = device.type == "cuda"
        self._rooms: dict[str, torch.Tensor] = {}
        self._copied: torch.cuda.Event | None = None

    def room(self, name: str, size: int) -> npt.NDArray[np.uint8]:
        """Return at least `size` bytes for the modality `name`, once nothing reads them."""
        if self._copied is not None:
            self._copied.synchronize()
            self._copied = None
        if name not in self._rooms or len(self._rooms[name]) < size:
            self._rooms[name] = torch.empty(size, dtype=torch.uint8, pin_memory=self._pinned)
        return self._rooms[name].numpy()

    def copying(self, stream: torch.cuda.Stream) -> None:
        """Keep the memory until the copies queued on `stream` are done."""
        self._copied = torch.cuda.Event()
        self._copied.record(stream)


def read_ahead(
    load: Callable[[Item, Memory], Batch], items: Sequence[Item], device: torch.device
) -> Generator[tuple[Batch, Memory], None, None]:
    """Yield ``load(item, memory)`` for each of `items`, in order, with the memory it may use.

    The memory is not overwritten until the next item is requested. Exceptions of `load` are raised here.
    """
    ahead = AHEAD[device.type]
    free = deque(Memory(device) for _ in range(min(ahead + 1, len(items))))
    left = iter(items)
    loading: deque[tuple[Future[Batch], Memory]] = deque()
    # In a new thread MKL takes as many threads as there are cores, until torch is asked there how many it may take; the
    # bits of a Fourier transform depend on that.
    pool = ThreadPoolExecutor(ahead, thread_name_prefix="read-ahead", initializer=torch.get_num_threads)
    try:
        while True:
            for item in islice(left, len(free)):
                memory = free.popleft()
                loading.append((pool.submit(load, item, memory), memory))
            if not loading:
                return
            future, memory = loading.popleft()
            yield future.result(), memory
            free.append(memory)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
