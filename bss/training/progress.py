"""Progress of many trainings: a bar on a terminal, lines elsewhere."""

import time
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

LINE_SECONDS = 30.0
"""Without a terminal a running training is mentioned at most this often."""


def _accuracies(values: dict[str, Any]) -> str:
    """Return the accuracies on val and test that `values` hold."""
    known = [split for split in ("val", "test") if f"{split}/acc" in values]
    return ", ".join(f"{split} {100 * values[f'{split}/acc']:.1f} %" for split in known)


class TrainingProgress:
    """Shows epochs as they finish and one line per finished training; use as a context manager."""

    def __init__(self, trainings: int, epochs: int, console: Console) -> None:
        self.trainings, self.epochs, self.console = trainings, epochs, console
        self.finished = 0
        self.started = self.last_line = time.monotonic()
        self.bar = Progress(
            TextColumn("train"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("epochs"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self.task = self.bar.add_task("train", total=trainings * epochs)

    def __enter__(self) -> "TrainingProgress":
        self.bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.stop()

    def epoch(self, name: str, seed: int, row: dict[str, Any]) -> None:
        """Count one finished epoch."""
        self.bar.advance(self.task)
        now = time.monotonic()
        if not self.console.is_terminal and now - self.last_line > LINE_SECONDS:
            self.last_line = now
            self._print(
                f"  {name} seed {seed}: epoch {row['epoch'] + 1}/{self.epochs}, training loss "
                f"{row['train/loss']:.3f}, {_accuracies(row)}"
            )

    def done(self, name: str, seed: int, metrics: dict[str, Any], seconds: float | None) -> None:
        """Print the line of a finished training; `seconds` None means that it was finished before."""
        self.finished += 1
        self.last_line = time.monotonic()
        time_text = "kept from before" if seconds is None else f"{seconds:.1f} s"
        if seconds is None:
            self.bar.advance(self.task, self.epochs)
        self._print(
            f"[{self.finished:>{len(str(self.trainings))}}/{self.trainings}] {name} seed {seed}: "
            f"{_accuracies(metrics)} ({time_text})"
        )

    def _print(self, line: str) -> None:
        self.console.print(line, highlight=False, markup=False, soft_wrap=True)
