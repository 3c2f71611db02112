"""Stage 4: train every scheduler with every seed."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from bss.artifacts.history import read_history
from bss.config import Config
from bss.console import make_console
from bss.data.store import Store
from bss.errors import BssError
from bss.files import held, read_json, restore_folder, whole_file, write_json
from bss.launch.nodes import check_nodes
from bss.launch.processes import await_killed_ranks, train_on_ranks
from bss.launch.workers import emit, jobs_at_a_time, run_jobs
from bss.models.inputs.waveforms import read_filled
from bss.stages.progress import TrainingProgress
from bss.stages.schedule import require_a_batch
from bss.tracking.destination import tracking_uri, warn_if_lost
from bss.tracking.execution import TRACKING, Execution, log_inputs, open_execution, write_tracking
from bss.tracking.journal import end_abandoned, spool_folder
from bss.tracking.sender import sending
from bss.tracking.trial_run import CellRun, ModelToLog
from bss.training.distributed.ranks import require_gpus
from bss.training.reproducible import device_type
from bss.training.resume.checkpoints import Checkpoints, checkpoint_store, checkpoints_folder
from bss.training.trial_folder import cell_key, cell_parameters, is_finished, train_into

Cell = tuple[str, int]
"""Scheduler name and seed."""


@dataclass(frozen=True)
class Task:
    """What a worker process needs, all of it picklable."""

    config: Config
    store: Path
    plans: Path
    runs: Path
    execution: Execution | None
    """The MLflow run that the trainings belong to; None without MLflow."""


def train(
    config: Config,
    store: Path,
    scores: Path,
    plans: Path,
    runs: Path,
    cells: list[Cell] | None = None,
    execution: Execution | None = None,
) -> None:
    """Write ``<scheduler>/seed=<s>/`` into `runs` for each of `cells` (None: all of params.yaml).

    A cell that is there already, made by the same code from the same data, plan and parameters, is kept:
    an interrupted stage goes on where it stopped, and a new seed trains that seed only. Folders of
    schedulers and seeds that params.yaml no longer has are removed when all cells are asked for. Their
    MLflow runs belong to `execution`; None opens one that ends with this stage.
    """
    data = Store.open(store)
    if config.protocol == "honest" and not len(data.rows("val")):
        raise BssError(f"{store}: has no val, on which protocol honest selects. Run `bss prepare` with it again.")
    require_a_batch(store, len(data.rows("train")), config.train.batch_size)
    if config.train.nodes == 1 < config.train.processes and device_type(config) == "cuda":
        require_gpus(config.train.processes)
    wanted = cells or [(name, seed) for seed in config.seeds for name in config.schedule.schedulers]
    keys = {cell: cell_key(config, data, plans, *cell) for cell in wanted}
    runs.mkdir(parents=True, exist_ok=True)
    if config.train.nodes > 1 and not all(is_finished(_folder(runs, *cell), keys[cell]) for cell in wanted):
        check_nodes(config)
    console = make_console()
    with held(runs), _tracked(config, data, scores, plans, runs, execution, console) as (parent, check):
        for cell in wanted:
            restore_folder(_folder(runs, *cell))
        if cells is None:
            _remove_others(runs, set(wanted))
        kept = [cell for cell in wanted if is_finished(_folder(runs, *cell), keys[cell])]
        for cell in kept:
            checkpoints = checkpoints_folder(_folder(runs, *cell))
            if checkpoints.exists():  # of a process that was killed between its end and their removal
                Checkpoints(checkpoints, keys[cell], config.resources.checkpoints).remove()
        task = Task(config, store, plans, runs, parent)
        jobs = [(task, *cell, cell in kept) for cell in wanted]
        at_a_time = min(jobs_at_a_time(config, config.train.processes), len(wanted))
        ranks = config.train.nodes * config.train.processes
        each = f" with {ranks} processes each" if ranks > 1 else ""
        each += f" on {config.train.nodes} nodes" if config.train.nodes > 1 else ""
        selected = "test (protocol published)" if config.protocol == "published" else "val"
        console.print(
            f"train: {len(wanted)} trainings, {len(kept)} kept, {at_a_time} at a time{each}, selected on {selected}"
        )
        records: dict[str, str] = {}
        with TrainingProgress(len(wanted), config.train.epochs, console) as progress:

            def on_done(job: tuple[Any, ...], result: tuple[dict[str, Any], float | None, str | None]) -> None:
                metrics, seconds, record = result
                progress.done(job[1], job[2], metrics, seconds)
                if record is not None:
                    records[f"{job[1]}/seed={job[2]}"] = record

            def on_event(event: tuple[Any, ...]) -> None:
                progress.epoch(*event)
                check()

            run_jobs(train_one, jobs, at_a_time, on_event, on_done)
        if parent is not None:
            write_tracking(runs, parent, records)
        else:
            (runs / TRACKING).unlink(missing_ok=True)


def train_one(task: Task, name: str, seed: int, finished: bool) -> tuple[dict[str, Any], float | None, str | None]:
    """Train one cell in a worker process, or log again one that is finished.

    Returns its metrics, its seconds (None where it was finished before) and the name of its MLflow run's record.
    """
    config, data = task.config, Store.open(task.store)
    folder = _folder(task.runs, name, seed)
    run = _start_run(task, data, name, seed, finished)
    try:
        if finished:
            metrics = read_json(folder / "metrics.json", "train")
            if run is not None:
                _log_history(run, folder)
        else:
            metrics = _train(task, data, name, seed, run)
        if run is not None:
            run.finish(folder, metrics, _model_to_log(config, data, folder, seed))
    except BaseException as error:
        if run is not None:
            with suppress(BssError):  # on a full disk; the next start ends it
                run.fail("FAILED" if isinstance(error, Exception) else "KILLED")
        if isinstance(error, BssError):
            raise BssError(f"{name} seed {seed}: {error}") from error
        raise
    seconds = None if finished else read_json(folder / "timing.json", "train")["seconds"]
    return metrics, seconds, None if run is None else run.record


def log_finished(
    spool: Path,
    config: Config,
    data: Store,
    folder: Path,
    name: str,
    seed: int,
    execution: Execution,
    replaces: str | None,
) -> str:
    """Record the finished training in `folder` as a run of `execution`, in place of `replaces`; return its record."""
    run = _new_run(spool, config, name, seed, execution, replaces)
    _log_history(run, folder)
    run.finish(folder, read_json(folder / "metrics.json", "train"), _model_to_log(config, data, folder, seed))
    return run.record


def _log_history(run: CellRun, folder: Path) -> None:
    for row in read_history(folder / "history.csv"):
        run.log_epoch(row)


def _train(task: Task, data: Store, name: str, seed: int, run: CellRun | None) -> dict[str, Any]:
    """Train one cell in this process, or in several that this one starts and follows."""
    config, folder = task.config, _folder(task.runs, name, seed)

    def on_epoch(row: dict[str, Any]) -> None:
        emit(name, seed, row)
        if run is not None:
            run.log_epoch(row)

    await_killed_ranks(folder)
    if config.train.nodes * config.train.processes > 1:
        return train_on_ranks(folder, config, task.store, task.plans, name, seed, on_epoch)
    return train_into(folder, config, data, task.plans, name, seed, on_epoch)


def _folder(runs: Path, name: str, seed: int) -> Path:
    return runs / name / f"seed={seed}"


def _remove_others(runs: Path, wanted: set[Cell]) -> None:
    keep = {_folder(runs, *cell) for cell in wanted}
    keep |= {checkpoints_folder(folder) for folder in keep}
    for folder in [*runs.glob("*/seed=*"), *runs.glob("*/.seed=*")]:
        if folder not in keep:
            shutil.rmtree(folder)
    for folder in runs.iterdir():
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


@contextmanager
def _tracked(
    config: Config, data: Store, scores: Path, plans: Path, runs: Path, given: Execution | None, console: Console
) -> Iterator[tuple[Execution | None, Callable[[], None]]]:
    """Give the run that the trainings belong to, and what to call now and then; send what they record meanwhile.

    A run that is opened here ends with the block: FINISHED, FAILED on an error, KILLED on an interruption.
    """
    if not config.tracking.enabled:
        yield None, lambda: None
        return
    spool = spool_folder(runs)

    def say(line: str) -> None:
        console.print(line, highlight=False, markup=False, soft_wrap=True)

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
    """Return the journals of trainings that were stopped and have checkpoints."""
    notes = (_read_note(path) for path in runs.glob(f"*/.seed=*/{TRACKING}"))
    return [note["journal"] for note in notes if note is not None]


def _start_run(task: Task, data: Store, name: str, seed: int, finished: bool) -> CellRun | None:
    """Open the MLflow run of a training, or go on with that of one which was stopped."""
    if task.execution is None:
        return None
    spool = spool_folder(task.runs)
    if finished:
        return _new_run(spool, task.config, name, seed, task.execution)
    note = checkpoints_folder(_folder(task.runs, name, seed)) / TRACKING
    key = cell_key(task.config, data, task.plans, name, seed)
    known = _read_note(note)
    run = CellRun.resume(spool, task.execution, known["journal"]) if known and known["cell"] == key else None
    if run is not None:
        return run
    # Of one on another disk only the name is left; this one tells all that it told, and more.
    store = checkpoint_store(key, task.config.resources.checkpoints)
    before = store.read_note() if store is not None else None
    run = _new_run(spool, task.config, name, seed, task.execution, replaces=before["record"] if before else None)
    note.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(note) as file:
        write_json(file, {"journal": run.journal.folder.name, "cell": key})
    if store is not None:
        store.write_note({"record": run.record})
    return run


def _read_note(note: Path) -> dict[str, Any] | None:
    """Return which record a training that was stopped belongs to; None where that is not known (any more)."""
    try:
        return read_json(note, "train", {"journal": str, "cell": str})
    except BssError:
        return None


def _new_run(
    spool: Path, config: Config, name: str, seed: int, execution: Execution, replaces: str | None = None
) -> CellRun:
    tags = {"scheduler": name, "seed": str(seed)}
    return CellRun.start(
        spool, execution, f"{name} seed={seed}", cell_parameters(config, name, seed), tags, replaces=replaces
    )


def _model_to_log(config: Config, data: Store, folder: Path, seed: int) -> ModelToLog | None:
    models = config.tracking.models
    if models == "none" or (models == "first-seed" and seed != config.seeds[0]):
        return None
    rows = data.rows("test")[:2]
    return ModelToLog(folder, {name: read_filled(data, name, rows) for name in data.modalities})
