"""The MLflow runs of the trials: a parent run, opened and ended here, and one run per trial."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from bss.artifacts.history import read_history
from bss.config import Config
from bss.data.store import Store
from bss.errors import BssError
from bss.files import held, read_json, whole_file, write_json
from bss.models.inputs.waveforms import read_filled
from bss.tracking.destination import tracking_uri, warn_if_lost
from bss.tracking.execution import TRACKING, Execution, dataset_input, log_inputs, open_execution
from bss.tracking.journal import end_abandoned, spool_folder
from bss.tracking.sender import sending
from bss.tracking.system_metrics import require_monitors
from bss.tracking.trial_run import ModelToLog, TrialRun
from bss.training.reproducible import device_type
from bss.training.resume.checkpoints import checkpoint_store, checkpoints_folder
from bss.training.trial_spec import Trial, TrialId, trial_parameters


@dataclass(frozen=True)
class Task:
    """What a worker process needs; picklable."""

    config: Config
    store: Path
    runs: Path
    execution: Execution | None
    """The parent MLflow run of the trials; None without MLflow."""


def log_finished(
    spool: Path,
    config: Config,
    data: Store,
    folder: Path,
    trial: TrialId,
    execution: Execution,
    replaces: str | None,
) -> str:
    """Record the finished trial in `folder` as a run of `execution`, in place of `replaces`; return its record."""
    run = _new_run(spool, trial, trial_parameters(config, trial), execution, dataset_input(config, data), replaces)
    log_history(run, folder)
    run.finish(folder, read_json(folder / "metrics.json", "train"), model_to_log(config, data, folder, trial.seed))
    return run.record


def log_history(run: TrialRun, folder: Path) -> None:
    """Log every epoch of the finished trial in `folder`."""
    for row in read_history(folder / "history.csv"):
        run.log_epoch(row)


@contextmanager
def tracked(
    config: Config, data: Store, scores: Path, plans: Path, runs: Path, given: Execution | None, console: Console
) -> Iterator[tuple[Execution | None, Callable[[], None]]]:
    """Yield the parent run of the trials and a function to call periodically; send their records meanwhile.

    A run opened here ends with the block: FINISHED, FAILED on an error, KILLED on an interruption.
    """
    if not config.tracking.enabled:
        yield None, lambda: None
        return
    spool = spool_folder(runs)

    def say(line: str) -> None:
        console.print(line, highlight=False, markup=False, soft_wrap=True)

    if config.tracking.system_metrics:
        require_monitors(device_type(config) == "cuda", say)
    with held(spool):
        end_abandoned(spool, _to_be_resumed(runs))
        execution, journal = given, None
        if execution is None:
            warn_if_lost(say)
            execution, journal = open_execution(spool, config, data.name, tracking_uri(), {})
            log_inputs(journal, config, data, scores, plans)
        with sending(runs, execution.tracking_uri, config.tracking.strict, say) as sender:
            try:
                yield execution, sender.check
            except BaseException as error:
                if journal is not None:
                    with suppress(BssError):
                        journal.append("end", status="FAILED" if isinstance(error, Exception) else "KILLED")
                raise
            if journal is not None:
                journal.append("end", status="FINISHED")


def _to_be_resumed(runs: Path) -> list[str]:
    """Return the journals of stopped trials with checkpoints."""
    notes = (_read_note(path) for path in runs.glob(f"*/.seed=*/{TRACKING}"))
    return [note["journal"] for note in notes if note is not None]


def start_run(task: Task, trial: Trial, data: Store, finished: bool) -> TrialRun | None:
    """Open the MLflow run of a trial on `data`, or continue the run of a stopped one."""
    if task.execution is None:
        return None
    spool, dataset = spool_folder(task.runs), dataset_input(task.config, data)
    if finished:
        return _new_run(spool, trial.id, trial.parameters, task.execution, dataset)
    note = checkpoints_folder(trial.folder) / TRACKING
    known = _read_note(note)
    run = TrialRun.resume(spool, task.execution, known["journal"]) if known and known["cell"] == trial.key else None
    if run is not None:
        return run
    # Of a run on another disk only the name is left; this one records all that it had, and more.
    store = checkpoint_store(trial.key, task.config.resources.checkpoints)
    before = store.read_note() if store is not None else None
    replaces = before["record"] if before else None
    run = _new_run(spool, trial.id, trial.parameters, task.execution, dataset, replaces)
    note.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(note) as file:
        # "cell" is the old word for trial; it stays, so that notes of stopped trials can still be read.
        write_json(file, {"journal": run.journal.folder.name, "cell": trial.key})
    if store is not None:
        store.write_note({"record": run.record})
    return run


def _read_note(note: Path) -> dict[str, Any] | None:
    """Return the record of a stopped trial; None if it is not (or no longer) known."""
    try:
        return read_json(note, "train", {"journal": str, "cell": str})
    except BssError:
        return None


def _new_run(
    spool: Path,
    trial: TrialId,
    parameters: dict[str, Any],
    execution: Execution,
    dataset: dict[str, str],
    replaces: str | None = None,
) -> TrialRun:
    tags = {key: str(value) for key, value in trial.fields.items()}
    return TrialRun.start(spool, execution, trial.run_name, parameters, tags, replaces=replaces, dataset=dataset)


def model_to_log(config: Config, data: Store, folder: Path, seed: int) -> ModelToLog | None:
    """Return the model to log for the trial in `folder`; None if tracking.models excludes it."""
    models = config.tracking.models
    if models == "none" or (models == "first-seed" and seed != config.seeds[0]):
        return None
    return trained_model(data, folder)


def trained_model(data: Store, folder: Path) -> ModelToLog:
    """Return the model of the trial in `folder`, with two samples of the split test as its input example."""
    rows = data.rows("test")[:2]
    return ModelToLog(folder, {name: read_filled(data, name, rows) for name in data.modalities})
