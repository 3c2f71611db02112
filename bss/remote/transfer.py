"""Progress of file transfers: a bar on a terminal, otherwise lines."""

import threading
import time

from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

LINE_SECONDS = 30.0
"""Minimum seconds between lines about a running transfer without a terminal."""


class TransferProgress:
    """Counts files and bytes, from several threads; use as a context manager.

    `doing` and `done` are the verbs, such as "fetching" and "fetched". The last line has the
    totals and is printed only on success.
    """

    def __init__(self, doing: str, done: str, files: int, console: Console) -> None:
        self.doing, self.done, self.files, self.console = doing, done, files, console
        self.finished = self.bytes = 0
        self.started = self.last_line = time.monotonic()
        self.lock = threading.Lock()
        self.bar = Progress(
            TextColumn(doing),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("files, {task.fields[size]}"),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self.task = self.bar.add_task(doing, total=files, size=decimal(0))

    def __enter__(self) -> "TransferProgress":
        self.bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        self.bar.stop()
        if kind is None:
            seconds = time.monotonic() - self.started
            self._print(f"{self.done} {self.files} files, {decimal(self.bytes)}, in {seconds:.1f} s")

    def add_bytes(self, count: int) -> None:
        """Count transferred bytes."""
        with self.lock:
            self.bytes += count
        self._show()

    def add_file(self) -> None:
        """Count a completely transferred file."""
        with self.lock:
            self.finished += 1
        self._show()

    def _show(self) -> None:
        if self.console.is_terminal:
            self.bar.update(self.task, completed=self.finished, size=decimal(self.bytes))
            return
        with self.lock:
            now = time.monotonic()
            if now - self.last_line < LINE_SECONDS:
                return
            self.last_line = now
        self._print(f"  {self.doing}: {self.finished}/{self.files} files, {decimal(self.bytes)}")

    def _print(self, line: str) -> None:
        self.console.print(line, highlight=False, markup=False, soft_wrap=True)
