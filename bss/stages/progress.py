"""Progress of many trials or measurements: a bar on a terminal, otherwise lines."""

import time
from collections.abc import Mapping
from typing import Any, Self

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
"""Minimum seconds between lines about a running job without a terminal."""


class EpochProgress:
    """Counts the epochs of `jobs` jobs, `total` of all of them, and numbers the finished jobs; a context manager."""

    def __init__(self, stage: str, jobs: int, total: int, console: Console) -> None:
        self.jobs, self.console = jobs, console
        self.finished = 0
        self.started = self.last_line = time.monotonic()
        self.bar = Progress(
            TextColumn(stage),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("epochs"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self.task = self.bar.add_task(stage, total=total)

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.stop()

    def count_epoch(self, line: str) -> None:
        """Count one finished epoch; without a bar, print `line`, but not too often."""
        self.bar.advance(self.task)
        now = time.monotonic()
        if not self.console.is_terminal and now - self.last_line > LINE_SECONDS:
            self.last_line = now
            self._print(f"  {line}")

    def finish_job(self, line: str) -> None:
        """Print the line of a finished job after its number."""
        self.finished += 1
        self.last_line = time.monotonic()
        self._print(f"[{self.finished:>{len(str(self.jobs))}}/{self.jobs}] {line}")

    def _print(self, line: str) -> None:
        self.console.print(line, highlight=False, markup=False, soft_wrap=True)


class MeasuringProgress(EpochProgress):
    """Shows warm-up epochs as they finish and one line per measured seed."""

    def __init__(self, seeds: int, epochs: int, console: Console) -> None:
        super().__init__("measure", seeds, seeds * epochs, console)
        self.epochs = epochs

    def epoch(self, seed: int, epoch: int) -> None:
        """Count one finished epoch of the warm-up, from 0."""
        self.count_epoch(f"seed {seed}: warm-up epoch {epoch + 1}/{self.epochs}")

    def done(self, seed: int, mean_score: float) -> None:
        """Print the line of a measured seed."""
        self.finish_job(f"seed {seed}: mean balance score {mean_score:.3f}")


class AuditProgress(EpochProgress):
    """Shows epochs of the audit's networks as they finish and one line per network."""

    def __init__(self, networks: int, epochs: int, console: Console) -> None:
        super().__init__("audit", networks, networks * epochs, console)
        self.epochs = epochs

    def epoch(self, seed: int, fold: int, epoch: int) -> None:
        """Count one finished epoch of a network, from 0."""
        self.count_epoch(f"seed {seed} fold {fold}: epoch {epoch + 1}/{self.epochs}")

    def done(self, seed: int, fold: int, accuracy: float) -> None:
        """Print the line of a network that has predicted."""
        self.finish_job(f"seed {seed} fold {fold}: mean accuracy of the modalities {100 * accuracy:.1f} %")


class TrainingProgress(EpochProgress):
    """Shows epochs as they finish and one line per finished trial."""

    def __init__(self, epochs: Mapping[str, int], console: Console) -> None:
        super().__init__("train", len(epochs), sum(epochs.values()), console)
        self.epochs = epochs
        """Number of epochs of each trial, by name."""

    def epoch(self, trial: str, row: dict[str, Any]) -> None:
        """Count one finished epoch."""
        self.count_epoch(
            f"{trial}: epoch {row['epoch'] + 1}/{self.epochs[trial]}, training loss {row['train/loss']:.3f}, "
            + _accuracies(row)
        )

    def done(self, trial: str, metrics: dict[str, Any], seconds: float | None) -> None:
        """Print the line of a finished trial; `seconds` None means that it was finished before."""
        time_text = "kept from before" if seconds is None else f"{seconds:.1f} s"
        epochs = self.epochs[trial]
        made = metrics.get("epochs", epochs)
        if made < epochs:
            time_text += f", stopped after epoch {made}/{epochs}"
        self.bar.advance(self.task, epochs if seconds is None else epochs - made)
        self.finish_job(f"{trial}: {_accuracies(metrics)} ({time_text})")


def _accuracies(values: dict[str, Any]) -> str:
    """Return the accuracies on val and test in `values`."""
    known = [split for split in ("val", "test") if f"{split}/acc" in values]
    return ", ".join(f"{split} {100 * values[f'{split}/acc']:.1f} %" for split in known)
