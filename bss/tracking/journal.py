"""The journal of an MLflow run: its records in order, written to this disk first.

A trial writes here and never waits for a server. `bss.tracking.replay` uploads it, now or days later.
"""

import errno
import json
import os
import secrets
import shutil
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from bss.errors import BssError
from bss.files import read_json, sync_folder, write_json
from bss.full_disk import on_disk

LINES = "journal.jsonl"
SENT = "sent.json"

Record = dict[str, Any]
"""One line: ``op`` is its kind, ``time`` is in milliseconds since 1970."""


def spool_folder(runs: Path) -> Path:
    """Return the folder of the journals of the trials in `runs`."""
    return runs.with_name(f"{runs.name}.mlflow")


class Journal:
    """The journal in `folder`: one JSON value per line, appended atomically and synced, plus attached files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._path = folder / LINES
        self._lock = threading.Lock()

    @classmethod
    def create(cls, spool: Path) -> "Journal":
        """Return a new, empty journal in `spool`; names sort by creation time."""
        folder = spool / f"{time.time_ns():020d}-{secrets.token_hex(4)}"
        folder.mkdir(parents=True)
        sync_folder(spool)
        return cls(folder)

    def append(self, op: str, **values: Any) -> None:
        """Append a line and sync it to disk; raise `BssError` if the disk is full. Threads may share a journal."""
        line = json.dumps({"op": op, "time": int(time.time() * 1000), **values}, allow_nan=False).encode() + b"\n"
        with self._lock, on_disk(self._path, len(line)), self._path.open("ab", buffering=0) as file:
            file.truncate(self.size())  # a killed process may have left an incomplete line after it
            if file.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(file.fileno())

    def read(self, offset: int = 0) -> list[tuple[Record, int]]:
        """Return each complete line from byte `offset`, with its end offset; raise `BssError` if one is damaged."""
        if not self._path.is_file():
            return []
        with self._path.open("rb") as file:
            file.seek(offset)
            found = []
            for line in file:
                if not line.endswith(b"\n"):
                    break
                offset += len(line)
                try:
                    found.append((json.loads(line), offset))
                except ValueError as error:
                    raise BssError(f"{self._path}: damaged before byte {offset} ({error}).") from error
        return found

    def uri(self) -> str | None:
        """Return the URI it was recorded for, without its password; None if it is empty."""
        lines = self.read()
        return str(lines[0][0]["uri"]) if lines else None

    def size(self) -> int:
        """Return the number of bytes in complete lines."""
        content = self._path.read_bytes() if self._path.is_file() else b""
        return content.rfind(b"\n") + 1

    def add_files(self, files: Mapping[str, Path]) -> str:
        """Keep a snapshot of `files` (name to path), as links if possible; return the name of their folder.

        These files are replaced atomically, never changed in place, so a link keeps its content.
        """
        name = f"files-{secrets.token_hex(4)}"
        for relative, source in files.items():
            target = self.folder / name / relative
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                target.hardlink_to(source.resolve())
            except OSError:
                with on_disk(target, source.stat().st_size):
                    shutil.copyfile(source, target)
        return name

    def sent(self) -> Record:
        """Return the uploaded offset, and the destination."""
        path = self.folder / SENT
        return read_json(path, "sync") if path.is_file() else {}

    def write_sent(self, state: Record) -> None:
        """Save the uploaded offset; a lost offset only causes an idempotent repetition."""
        unfinished = self.folder / f"{SENT}.unfinished"
        write_json(unfinished, state)
        unfinished.replace(self.folder / SENT)

    def is_sent(self) -> bool:
        """Return whether all its lines have been sent."""
        return bool(self.sent().get("offset", 0) >= self.size())

    def remove(self) -> None:
        """Remove it, the lines last, so that a killed process leaves a valid journal."""
        for path in self.folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
        shutil.rmtree(self.folder)


def journals(spool: Path) -> list[Journal]:
    """Return the journals in `spool`, oldest first."""
    folders = sorted(path for path in spool.iterdir() if path.is_dir()) if spool.is_dir() else []
    return [Journal(folder) for folder in folders]


def unsent(spool: Path) -> list[Journal]:
    """Return the journals with unsent lines."""
    return [journal for journal in journals(spool) if not journal.is_sent()]


def end_abandoned(spool: Path, keep: Iterable[str]) -> None:
    """End runs left open by killed processes, and remove sent journals that are not in `keep`.

    Only for the process that holds the spool.
    """
    names = set(keep)
    for journal in journals(spool):
        lines = journal.read()
        if not lines:
            journal.remove()
        elif lines[-1][0]["op"] != "end":
            journal.append("end", status="KILLED")
        elif journal.is_sent() and journal.folder.name not in names:
            journal.remove()


def files_below(folder: Path, without: Iterable[str] = ()) -> dict[str, Path]:
    """Return the files below `folder` by their relative names, without those called `without`."""
    return dict(_walk(folder, set(without)))


def _walk(folder: Path, without: set[str]) -> Iterator[tuple[str, Path]]:
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name not in without:
            yield name, path
