"""SIGTERM and Ctrl-C: an interruption, but not in the middle of a training step.

A pod of Kubeflow is stopped by another signal, the image's STOPSIGNAL. A step runs there below two programs in Go:
Argo's `emissary`, which is PID 1, passes every signal on to all processes, and ends when its child has ended; and that
child, Kubeflow's `launcher`, which handles no signal. On SIGTERM a Go program ends at once, and when PID 1 ends the
kernel kills the rest, within about a second and before a checkpoint is saved. Of SIGUSR1 it takes no notice.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT)
STOP_SIGNAL = signal.SIGUSR1
"""What a container of the image is stopped with; Dockerfile names it."""
STOPPED = 143
"""Exit status of a worker or a step that such a signal has ended, after its training has saved where it stands."""


def stop_signal_as_sigterm() -> None:
    """Have `STOP_SIGNAL` do in this process what SIGTERM does at that moment."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(STOP_SIGNAL, lambda number, frame: os.kill(os.getpid(), signal.SIGTERM))


@contextmanager
def stop_signal_blocked() -> Iterator[None]:
    """Let no process that is started in the block get `STOP_SIGNAL`, however many others start in turn."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [STOP_SIGNAL])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def interrupted_by_sigterm() -> Iterator[None]:
    """Make SIGTERM an interruption like Ctrl-C, so that workers are ended and runs marked as killed."""
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
    """Give a function that tells whether the first SIGTERM or Ctrl-C has come; a second one interrupts at once.

    The loop in the block asks after each step, saves where it stands, and raises KeyboardInterrupt itself. A
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
        # One that came after the last question.
    if asked.is_set():
        raise KeyboardInterrupt


@contextmanager
def interruptions_wait() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM wait until the block has ended: for what must not be left half done."""
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
