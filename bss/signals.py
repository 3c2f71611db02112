"""SIGTERM and Ctrl-C interrupt, but never in the middle of a training step.

A Kubeflow pod is stopped by another signal, the image's STOPSIGNAL. A step runs there below two Go programs:
Argo's `emissary`, which is PID 1, passes every signal on to all processes, and ends when its child has ended; and that
child, Kubeflow's `launcher`, which handles no signal. On SIGTERM a Go program ends at once, and when PID 1 ends the
kernel kills the rest, within about a second and before a checkpoint is saved. Go programs ignore SIGUSR1.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT)
STOP_SIGNAL = signal.SIGUSR1
"""Stops a container of the image; set as STOPSIGNAL in the Dockerfile."""
STOPPED = 143
"""Exit status of a worker or step that such a signal ended, after its training saved its state."""


def stop_signal_as_sigterm() -> None:
    """Treat `STOP_SIGNAL` like SIGTERM in this process."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(STOP_SIGNAL, lambda number, frame: os.kill(os.getpid(), signal.SIGTERM))


@contextmanager
def stop_signal_blocked() -> Iterator[None]:
    """Block `STOP_SIGNAL` in all processes started in the block, and in their descendants."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [STOP_SIGNAL])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def interrupted_by_sigterm() -> Iterator[None]:
    """Make SIGTERM interrupt like Ctrl-C, so that workers are stopped and runs marked as killed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


@contextmanager
def finishing_steps() -> Iterator[Callable[[], bool]]:
    """Yield a function that returns whether a SIGTERM or Ctrl-C has arrived; a second one interrupts at once.

    The loop in the block polls it after each step, saves its state, and raises KeyboardInterrupt itself. A
    signal that is ignored, as by the workers of a pool, stays ignored.
    """
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return

    def ask(number: int, frame: Any) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    previous = {number: signal.getsignal(number) for number in SIGNALS}
    for number, handler in previous.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, ask)
    try:
        yield asked.is_set
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        # A signal that arrived after the last poll.
    if asked.is_set():
        raise KeyboardInterrupt


@contextmanager
def interruptions_wait() -> Iterator[None]:
    """Delay Ctrl-C and SIGTERM until the block ends: for work that must not be left half done."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    numbers = [n for n in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(n) != signal.SIG_IGN]
    previous = {number: signal.signal(number, lambda number, frame: came.append(number)) for number in numbers}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    if came:
        raise KeyboardInterrupt


def _interrupt(number: int, frame: Any) -> None:
    raise KeyboardInterrupt
