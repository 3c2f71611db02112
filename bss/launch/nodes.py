"""One trial on several nodes: start it through the Kubeflow Trainer, follow it, and download its result."""

import os
import secrets
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bss.artifacts.history import read_history
from bss.config import Config
from bss.console import make_plain_console
from bss.data.store import Store
from bss.errors import BssError
from bss.files import digest_json, scratch_folder, whole_folder
from bss.launch.kubeflow_job import ENDED_WELL, FAILED, State, TrainJob, make_train_job
from bss.launch.node_log import describe_signal, killed_by, read_records
from bss.launch.pods import RUN_ID
from bss.launch.staging import Staging, staging_of, upload_inputs
from bss.launch.trial_arguments import trial_arguments
from bss.remote.object_store import check_bucket, download_folder, remove_folder
from bss.signals import interrupted_by_sigterm, interruptions_wait
from bss.training.reproducible import device_type
from bss.training.resume.state import Row
from bss.training.trial_folder import is_finished
from bss.training.trial_spec import Trial

IMAGE = "BSS_IMAGE"
"""Environment variable with the image of the nodes."""
POLL_SECONDS = 2.0
"""Seconds between two polls of a job."""
PATIENCE = 30
"""Consecutive polls that may fail before a job is given up."""
GRACE_SECONDS = 15.0
"""Seconds after a first unexplained failure in which other nodes may still report theirs."""
TAIL_LINES = 20


def check_nodes(config: Config) -> None:
    """Raise `BssError` for errors that can be detected before a trial on several nodes starts."""
    assert config.resources.staging is not None
    device_type(config)
    _image()
    check_bucket(config.resources.staging)


def train_on_nodes(trial: Trial, config: Config, store: Path, on_epoch: Callable[[Row], None]) -> None:
    """Run one trial over train.nodes x train.processes ranks and make its folder.

    Always cleans up the job and the trial's files on the object store; leftovers of a killed
    process are replaced by the next one.
    """
    training, attempt = _training_name(trial), secrets.token_hex(2)
    job_name = f"{training}-{attempt}"
    staging = staging_of(config, Store.open(store), training, attempt)
    arguments = ["--job", job_name, "--store", staging.store, "--inputs", staging.inputs, "--result", staging.result]
    arguments += [*trial_arguments(trial.id), "--trial", trial.key]
    job = make_train_job(job_name, config, _image(), arguments)
    following = Following(on_epoch)
    with interrupted_by_sigterm():
        job.remove_others(training)
        with _removed_at_the_end(job, staging):
            with scratch_folder(trial.folder) as scratch:
                upload_inputs(staging, config, store, trial, scratch)
            with interruptions_wait():  # half a job would have no name to be deleted by
                job.start()
            following.until_the_end(job)
            _take_home(trial, staging, job_name)
    for row in read_history(trial.folder / "history.csv")[following.epochs :]:
        on_epoch(row)


class Following:
    """Polls a job until it ends; passes its rows to `on_epoch` as they arrive."""

    def __init__(self, on_epoch: Callable[[Row], None]) -> None:
        self.on_epoch = on_epoch
        self.epochs = 0
        """Number of rows passed to `on_epoch`."""
        self.shown: dict[str, str] = {}

    def until_the_end(self, job: TrainJob) -> None:
        """Return when the job is complete; raise `BssError` as soon as it can no longer complete."""
        failures, failed_at = 0, None
        while True:
            try:
                state = job.look()
                logs = {node: job.log(node) for node in sorted(state.nodes)}
                failures = 0
            except Exception as error:
                failures += 1
                if failures == PATIENCE:
                    raise BssError(f"cannot poll the TrainJob {job.name} any more: {error}") from error
                time.sleep(POLL_SECONDS)
                continue
            self._show(job, state)
            self._take_rows(logs.get("node-0", ""))
            if _has_failed(state, logs):
                failed_at = failed_at or time.monotonic()
                waited = time.monotonic() - failed_at > GRACE_SECONDS
                if waited or _mistake(logs) or not _is_running(state):
                    raise BssError(why(state, logs))
            elif state.status == "Complete":
                return
            time.sleep(POLL_SECONDS)

    def _show(self, job: TrainJob, state: State) -> None:
        if state.nodes != self.shown:
            self.shown = state.nodes
            nodes = ", ".join(f"{node} {status.lower()}" for node, status in sorted(state.nodes.items()))
            print(f"train: TrainJob {job.name}: {nodes}", flush=True)

    def _take_rows(self, log: str) -> None:
        # A node restarted by the cluster repeats them; they are the same.
        for record in read_records(log):
            if "row" in record and record["row"]["epoch"] == self.epochs:
                self.on_epoch(record["row"])
                self.epochs += 1


def why(state: State, logs: dict[str, str]) -> str:
    """Return why a trial failed: a node's own message, the signal that ended a process, or the end of a log.

    A node whose peer is gone reports a lost connection, so connection errors are checked last.
    """
    mistake = _mistake(logs)
    if mistake:
        return mistake
    for node, log in logs.items():
        number = killed_by(log)
        if number is not None:
            return f"{node}: one of its processes was ended by {describe_signal(number)}."
    for node, log in logs.items():
        if state.nodes[node] == FAILED and not any("failed" in record for record in read_records(log)):
            return f"{node} ended without a message, perhaps out of memory. The end of its log:\n{_tail(log)}"
    for node, log in logs.items():
        for record in read_records(log):
            if "failed" in record:
                return f"{node} failed:\n{record['failed']}"
    return "\n".join([f"the TrainJob is {state.status}.", *(f"{node}:\n{_tail(log)}" for node, log in logs.items())])


def _has_failed(state: State, logs: dict[str, str]) -> bool:
    # The cluster would restart a node that cannot continue without the others.
    reported = any("failed" in record for log in logs.values() for record in read_records(log))
    return reported or state.status == FAILED or FAILED in state.nodes.values()


def _is_running(state: State) -> bool:
    return any(status != FAILED and status not in ENDED_WELL for status in state.nodes.values())


def _mistake(logs: dict[str, str]) -> str | None:
    """Return the first message that the user can act on, with its node."""
    for node, log in logs.items():
        for record in read_records(log):
            if record.get("expected"):
                return f"{node}: {record['failed']}"
    return None


def _tail(log: str) -> str:
    return "\n".join(log.splitlines()[-TAIL_LINES:]) or "(nothing)"


def _take_home(trial: Trial, staging: Staging, job: str) -> None:
    """Download the finished trial; the Trainer may report a job as complete that is not."""
    with whole_folder(trial.folder) as folder:
        try:
            download_folder(staging.result, folder, make_plain_console())
        except BssError as error:
            raise BssError(f"the TrainJob {job} finished, but its result cannot be downloaded. {error}") from error
        if not is_finished(folder, trial.key):
            raise BssError(f"{staging.result}: holds a different trial. Is another process writing to this URL?")


@contextmanager
def _removed_at_the_end(job: TrainJob, staging: Staging) -> Iterator[None]:
    """Delete the job and the trial's files on the object store after the block, in any case."""
    try:
        yield
    except BaseException:
        try:
            _remove(job, staging)
        except BssError as error:  # the block's own error is more informative
            print(f"bss: {error}", file=sys.stderr)
        raise
    _remove(job, staging)


def _remove(job: TrainJob, staging: Staging) -> None:
    with interruptions_wait():
        try:
            job.delete()
        finally:
            remove_folder(staging.training)


def _training_name(trial: Trial) -> str:
    """Return a name that the same trial gets again from the same pipeline run, or for the same folder."""
    asked_by = os.environ.get(RUN_ID) or f"{socket.gethostname()}:{trial.folder.resolve()}"
    return f"bss-{digest_json([trial.key, asked_by])[:12]}"


def _image() -> str:
    image = os.environ.get(IMAGE)
    if not image:
        raise BssError(
            f"{IMAGE}: not set. train.nodes needs the image for the nodes: `make image` builds one and prints its "
            "name; the pipeline sets it automatically."
        )
    return image
