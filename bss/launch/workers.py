"""Concurrent trials, each in its own process."""

import multiprocessing
import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from typing import Any

import torch

from bss.config import Config
from bss.signals import STOP_SIGNAL, STOPPED, interrupted_by_sigterm
from bss.training.reproducible import device_type

Event = tuple[Any, ...]

_send: Any = None
_busy = False


SMALL_ENCODERS = ("cnn", "mlp")
"""Kinds whose GPU kernels run faster than the CPU launches them."""
MOST_ON_A_GPU = 8
GPU_BYTES_EACH = 6 << 30
"""GPU memory per job: a CUDA context, the inputs of train and val (up to 2 GiB each), and a small step."""


def jobs_at_a_time(config: Config, processes: int) -> int:
    """Return how many jobs of `processes` processes run concurrently: resources.jobs, or what the machine allows.

    By default jobs share a GPU only if all encoders are small, because one trial leaves most of it idle; a larger
    network keeps it busy. Each job is a process, so their number changes no result.
    """
    if config.resources.jobs is not None:
        return config.resources.jobs
    if config.train.nodes > 1:
        return 1
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if device_type(config) == "cpu":
        return max(1, processors // processes)
    kinds = {encoder.kind for encoder in config.network.encoders.values()}
    if processes > 1 or not kinds <= set(SMALL_ENCODERS):
        return 1
    return max(1, min(processors, MOST_ON_A_GPU, gpu_memory() // GPU_BYTES_EACH))


def gpu_memory() -> int:
    """Return the GPU's memory in bytes."""
    return int(torch.cuda.get_device_properties(torch.device("cuda")).total_memory)


def run_jobs(
    work: Callable[..., Any],
    jobs: Iterable[tuple[Any, ...]],
    processes: int,
    on_event: Callable[[Event], None],
    on_done: Callable[[tuple[Any, ...], Any], None],
) -> None:
    """Call ``work(*job)`` for each job in `processes` processes, or in this one, and report progress.

    `work` may call `emit` with any picklable values; they reach `on_event` in this process. `on_done` gets
    each finished job and its result. If a job raises, running jobs finish, the others are
    dropped, and the first error is raised.
    """
    jobs = list(jobs)
    if processes == 1:
        _run_here(work, jobs, on_event, on_done)
        return
    context = multiprocessing.get_context("spawn")
    events = context.Queue()
    with interrupted_by_sigterm():
        pool = ProcessPoolExecutor(processes, context, _start_worker, (events, os.getpid()))
        try:
            futures: dict[Future[Any], tuple[Any, ...]] = {pool.submit(_work, work, *job): job for job in jobs}
            _watch(pool, futures, events, on_event, on_done)
        except BaseException:
            # A job's own error is raised after the others finish; any other exception ends them once they have saved.
            for process in list((pool._processes or {}).values()):
                process.terminate()
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
    for event in _drain(events):  # a worker's last events may arrive after its result
        on_event(event)


def _run_here(
    work: Callable[..., Any],
    jobs: list[tuple[Any, ...]],
    on_event: Callable[[Event], None],
    on_done: Callable[[tuple[Any, ...], Any], None],
) -> None:
    global _send  # noqa: PLW0603
    _send = on_event
    with interrupted_by_sigterm():
        for job in jobs:
            on_done(job, work(*job))


def emit(*values: Any) -> None:
    """Send `values` to the parent's `on_event`, from inside `work`."""
    _send(values)


def _watch(
    pool: ProcessPoolExecutor,
    futures: dict[Future[Any], tuple[Any, ...]],
    events: Any,
    on_event: Callable[[Event], None],
    on_done: Callable[[tuple[Any, ...], Any], None],
) -> None:
    failure: BaseException | None = None
    pending = set(futures)
    while pending:
        done, pending = wait(pending, timeout=0.2, return_when=FIRST_COMPLETED)
        for event in _drain(events):
            on_event(event)
        # A future that the pool cancels never counts as done.
        pending = {future for future in pending if not future.cancelled()}
        for future in done:
            error = future.exception()
            if error is None:
                on_done(futures[future], future.result())
            elif failure is None:
                failure = error
                pool.shutdown(wait=False, cancel_futures=True)
    if failure is not None:
        raise failure


def _drain(events: Any) -> Iterator[Event]:
    while True:
        try:
            yield events.get_nowait()
        except queue.Empty:
            return


def _start_worker(events: Any, parent: int) -> None:
    global _send  # noqa: PLW0603
    _send = events.put
    for number in (signal.SIGINT, STOP_SIGNAL):  # they reach the whole group; the parent handles them
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _stop)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _stop(number: int, frame: Any) -> None:
    if not _busy:
        os._exit(STOPPED)
    raise KeyboardInterrupt


def _work(work: Callable[..., Any], *job: Any) -> Any:
    """Call ``work(*job)`` in a worker; on interruption the worker ends, and no other job starts."""
    global _busy  # noqa: PLW0603
    _busy = True
    try:
        return work(*job)
    except KeyboardInterrupt:
        os._exit(STOPPED)
    finally:
        _busy = False


def _end_with(parent: int) -> None:
    """End this process when its parent is gone, so that a killed pipeline leaves no trial running."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)
