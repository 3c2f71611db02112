"""Upload a stage's journals to MLflow in a background thread: nothing waits for a server."""

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bss.errors import BssError
from bss.redact import redact
from bss.tracking.destination import failure, reason, unreachable
from bss.tracking.experiment_folder import checkout_folder
from bss.tracking.journal import Journal, journals, spool_folder, unsent
from bss.tracking.replay import Replay, is_refused

CYCLE_SECONDS = 10.0
"""Seconds between uploads of metrics: live in a long trial, one call in a short one."""
PATIENCE_SECONDS, BYTES_PER_SECOND = 5.0, 1e6
"""Seconds a stage waits at its end for one answer of a server, plus time for the upload's size."""
LOCAL_PATIENCE_SECONDS = 60.0
"""The same for a database, which may have to be created first."""

Say = Callable[[str], None]


class _GivenUpError(Exception):
    """The stage has ended without waiting for this thread."""


class Sender:
    """Uploads the journals in `spool` to the tracking store at `uri`, repeatedly until closed.

    An outage is reported once through `say` and ends nothing; with `strict`, `check` raises it. Use `sending`.
    """

    def __init__(self, spool: Path, uri: str, strict: bool, say: Say) -> None:
        self.spool, self.uri, self.strict, self.say = spool, uri, strict, say
        self.error: Exception | None = None
        """Why the last attempt did not upload everything."""
        self._reported = False
        self._began: float | None = None
        self._allowed = 0.0
        self._first, self._poke, self._done = threading.Event(), threading.Event(), threading.Event()
        self._closing = self._given_up = False
        self._thread = threading.Thread(target=self._work, daemon=True, name="mlflow-sender")

    def start(self) -> None:
        """Start uploading; with `strict`, raise `BssError` immediately if no server answers."""
        self._thread.start()
        if self.strict:
            self._wait(self._first)
            self.check()

    def check(self) -> None:
        """With `strict`, raise `BssError` if the last attempt failed."""
        if self.strict and self.error is not None:
            if isinstance(self.error, BssError):  # the store answers, and rejects a record
                raise self.error
            raise unreachable(self.uri, self.error) from self.error

    def quiet(self) -> None:
        """Raise nothing from now on, and do not report an outage that `check` raised."""
        self._reported = self._reported or self.strict
        self.strict = False

    def abandon(self) -> None:
        """Stop silently without uploading the rest, after `start` has raised."""
        self._closing = self._given_up = True
        self._poke.set()

    def close(self) -> None:
        """Upload the rest while the store answers; report what remains unsent, or raise with `strict`.

        DVC deletes the folder of a temporary experiment, so its unsent journals move to the checkout.
        """
        self._closing = True
        self._poke.set()
        self._wait(self._done)
        self._given_up = not self._done.is_set()
        left = len(unsent(self.spool))
        if left:
            here, home = Path.cwd().resolve(), checkout_folder(Path.cwd())
            runs = self.spool.with_name(self.spool.name.removesuffix(".mlflow"))
            place = "" if runs.as_posix() == "outputs/runs" else f" --runs {runs}"
            if home != here and not self.spool.is_absolute():
                _move(self.spool, home / self.spool)
                place += f" (in {home})"
            self.check()
            self.say(f"MLflow: runs not sent yet: {left}. When the server answers again, run: bss sync{place}")

    def _wait(self, event: threading.Event) -> None:
        """Wait for `event`, unless an answer takes too long."""
        while not event.wait(0.05):
            began = self._began
            if began is not None and time.monotonic() - began > self._allowed:
                self.error = self.error or TimeoutError(f"no answer for {self._allowed:.0f} seconds")
                self._report(self.error)
                return

    def _work(self) -> None:
        try:
            replay: Replay | None = None
            closing = False
            while not closing:
                closing = self._closing
                self._poke.clear()
                try:
                    replay = replay or Replay(self.uri, self._before)
                    send_all(self.spool, replay, lambda journal: journal.uri() == redact(self.uri))
                    self.error = None
                except _GivenUpError:
                    return
                except Exception as error:
                    self.error = error
                    self._report(error)
                self._began = None
                self._first.set()
                if not self._closing:
                    self._poke.wait(CYCLE_SECONDS)
        finally:
            self._first.set()
            self._done.set()

    def _before(self, size: int) -> None:
        if self._given_up:
            raise _GivenUpError
        patience = PATIENCE_SECONDS if self.uri.startswith(("http://", "https://")) else LOCAL_PATIENCE_SECONDS
        self._allowed, self._began = patience + size / BYTES_PER_SECOND, time.monotonic()

    def _report(self, error: Exception) -> None:
        if not self._reported and not self.strict:
            self._reported = True
            what = "does not take everything" if is_refused(error) else failure(error)[0]
            self.say(
                f"MLflow at {redact(self.uri)} {what} ({reason(error)}). The run continues; its records are kept "
                f"in {self.spool}."
            )


def send_all(spool: Path, replay: Replay, only: Callable[[Journal], bool]) -> None:
    """Upload the non-empty journals in `spool` selected by `only`, and remove those that are complete.

    A record that the store rejects does not block other runs; the first such error is raised at the end.
    """
    refused: BssError | None = None
    chosen = [journal for journal in journals(spool) if only(journal)]
    # The journal of a resumed trial is older than the execution that it now belongs to.
    for journal in sorted(chosen, key=lambda journal: journal.read()[0][0].get("parent") is not None):
        try:
            replay.send(journal)
        except Exception as error:
            if not is_refused(error):
                raise
            refused = refused or BssError(f"{journal.folder}: MLflow rejects it: {error} Delete it to drop the record.")
            continue
        lines = journal.read()
        if lines[-1][0]["op"] == "end" and journal.is_sent():
            first, last = lines[0][0], lines[-1][0]
            stopped_training = first["op"] == "run" and first["parent"] is not None and last["status"] != "FINISHED"
            if not stopped_training:  # which may resume
                journal.remove()
    if refused is not None:
        raise refused


@contextmanager
def sending(runs: Path, uri: str, strict: bool, say: Say) -> Iterator[Sender]:
    """Yield a started sender of the journals of `runs`, and close it; raises like `Sender`.

    Only for the process that holds the spool.
    """
    spool = spool_folder(runs)
    sender = Sender(spool, uri, strict, say)
    try:
        sender.start()
    except BaseException:
        sender.abandon()
        raise
    try:
        yield sender
    except BaseException:
        sender.quiet()  # the block's own error is more informative
        sender.close()
        raise
    sender.close()
    remove_empty(spool)


def _move(spool: Path, to: Path) -> None:
    """Move the journals in `spool` to the folder `to`; their names are unique."""
    to.mkdir(parents=True, exist_ok=True)
    for journal in unsent(spool):
        shutil.move(journal.folder, to / journal.folder.name)


def remove_empty(spool: Path) -> None:
    """Remove the folder `spool` if it is empty."""
    if spool.is_dir() and not any(spool.iterdir()):
        spool.rmdir()


def require_sent(spool: Path, uri: str) -> None:
    """Upload every journal in `spool` now; raise `BssError` if the store does not answer or rejects one."""
    try:
        send_all(spool, Replay(uri), lambda journal: journal.uri() is not None)
    except BssError:
        raise
    except Exception as error:
        raise unreachable(uri, error) from error
