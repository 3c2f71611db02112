"""SIGTERM and Ctrl-C: an interruption, but not in the middle of a training step."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT)


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
