"""Start one trial over several ranks, follow it, and stop it."""

import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

from bss.config import Config, config_to_tree
from bss.errors import BssError
from bss.files import read_json, remove_unfinished, scratch_folder, scratch_of, write_json
from bss.launch.node_log import describe_signal, killed_by
from bss.launch.nodes import train_on_nodes
from bss.launch.trial_arguments import trial_arguments
from bss.signals import stop_signal_blocked
from bss.training.resume.state import Row
from bss.training.trial_spec import Trial

POLL_SECONDS = 0.1
STOP_SECONDS = 20.0
"""Seconds for torchrun to end its ranks before it is killed; they then end on their own."""
PROGRESS = "progress"
"""File in the scratch folder with a row of history.csv per epoch; every rank holds it while it runs."""


def await_killed_ranks(path: Path) -> None:
    """Wait for orphaned ranks of the trial at `path` to exit, then clean up after them.

    Orphaned ranks save their state and exit on their own. Raises `BssError` if they do not.
    """
    progress = scratch_of(path) / PROGRESS
    if progress.is_file():
        with progress.open("a") as file:
            until = time.monotonic() + STOP_SECONDS
            while not _is_free(file):
                if time.monotonic() > until:
                    raise BssError(
                        f"{path}: orphaned processes of a killed trial still work on it. Stop them; `fuser "
                        f"{progress}` lists them."
                    )
                time.sleep(POLL_SECONDS)
    shutil.rmtree(progress.parent, ignore_errors=True)


def _is_free(file: TextIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def train_on_ranks(trial: Trial, config: Config, store: Path, on_epoch: Callable[[Row], None]) -> dict[str, Any]:
    """Run one trial over train.nodes x train.processes ranks and make its folder.

    `on_epoch` gets each row of history.csv soon after it is written. Returns the content of metrics.json.
    Raises `BssError` with the message of the rank that failed first. Leaves no process and nothing
    unfinished behind.
    """
    start = train_on_this_machine if config.train.nodes == 1 else train_on_nodes
    start(trial, config, store, on_epoch)
    metrics: dict[str, Any] = read_json(trial.folder / "metrics.json", "train")
    return metrics


def train_on_this_machine(trial: Trial, config: Config, store: Path, on_epoch: Callable[[Row], None]) -> None:
    """Run one trial over train.processes ranks on this machine, through torchrun."""
    with scratch_folder(trial.folder) as scratch:
        params, progress, error, output = (scratch / n for n in ("params.json", PROGRESS, "error.json", "output"))
        write_json(params, config_to_tree(config))
        progress.touch()
        module = ["--params", params, "--store", store, "--plans", trial.plans, *trial_arguments(trial.id)]
        module += ["--out", trial.folder, "--trial", trial.key, trial.plan_digest, trial.code]
        module += ["--progress", progress, "--end-with-stdin"]
        torchrun = ["--standalone", "--local-addr", "127.0.0.1", "--nproc-per-node", config.train.processes]
        torchrun += ["--redirects", 3, "--log-dir", scratch / "logs", "-m", "bss.launch.rank_main"]
        with output.open("wb") as log, progress.open(encoding="utf-8") as rows:
            with stop_signal_blocked():  # torchrun and the ranks inherit this; we stop them as after Ctrl-C
                process = subprocess.Popen(
                    [sys.executable, "-m", "torch.distributed.run", *map(str, torchrun + module)],
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=log,
                    env={**os.environ, "TORCHELASTIC_ERROR_FILE": str(error), "OMP_NUM_THREADS": "1"},
                    start_new_session=True,  # Ctrl-C reaches only us, and we stop the others
                )
            try:
                for row in _follow(process, rows):
                    on_epoch(row)
            finally:
                _stop(process)
                remove_unfinished(trial.folder)
        if process.returncode != 0:
            raise BssError(_why(error, output, config.train.processes))
        for file in scratch.glob("logs/**/0/stderr.log"):  # warnings of rank 0
            sys.stderr.write(file.read_text(encoding="utf-8"))


def _follow(process: subprocess.Popen[bytes], rows: TextIO) -> Iterator[Row]:
    """Yield each row added to the file `rows` until the process has ended."""
    unfinished, running = "", True
    while running:
        running = process.poll() is None
        *lines, unfinished = (unfinished + rows.read()).split("\n")
        for line in lines:
            yield json.loads(line)
        if running:
            time.sleep(POLL_SECONDS)


def _stop(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    # Every rank watches it, saves and exits; torchrun would send a second signal, which skips saving.
    process.stdin.close()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _why(error: Path, output: Path, processes: int) -> str:
    """Return why the trial failed: a rank's own message, the signal that ended one, or a traceback."""
    failure = read_json(error, "train")["message"] if error.is_file() else None
    if failure is not None:
        kind, _, message = str(failure["message"]).partition(": ")
        if kind == BssError.__name__:
            return message
    text = output.read_text(encoding="utf-8", errors="replace")
    # A killed rank reports nothing, and the ranks that waited for it report a lost connection.
    number = killed_by(text)
    if number is not None:
        return f"one of its {processes} processes was ended by {describe_signal(number)}."
    return (
        f"one of its {processes} processes failed:\n{text if failure is None else failure['extraInfo']['py_callstack']}"
    )
