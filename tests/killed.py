"""Trainings that end right after a checkpoint, as if they were killed there."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from bss.training.resume.checkpoints import Checkpoints


class Killed(BaseException):
    """Stands for the end of the process."""


@contextmanager
def killed_after_saving(due: Callable[[int], bool]) -> Iterator[None]:
    """In the block, raise `Killed` right after each checkpoint whose number of finished steps is `due`."""
    save = Checkpoints.save

    def save_and_end(self, state, steps):
        save(self, state, steps)
        if due(steps):
            raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoints, "save", save_and_end)
        yield
