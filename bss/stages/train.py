"""Stage 4: train every scheduler with every seed."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bss.config import Config
from bss.console import make_console
from bss.data.store import Store
from bss.errors import BssError
from bss.files import held, read_json, restore_folder, whole_file, write_json
from bss.models.waveforms import read_filled
from bss.tracking.runs import CellRun, Execution, ModelToLog, start_execution, write_tracking
from bss.training.cell_folder import cell_key, cell_parameters, is_finished, train_into
from bss.training.checkpoints import checkpoints_folder
from bss.training.history import read_history
from bss.training.launch import train_on_ranks
from bss.training.progress import TrainingProgress
from bss.training.ranks import require_gpus
from bss.training.reproducible import device_type
from bss.training.train_job import check_nodes
from bss.training.workers import emit, jobs_at_a_time, run_jobs

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
    if config.train.nodes == 1 < config.train.processes and device_type(config) == "cuda":
        require_gpus(config.train.processes)
    wanted = cells or [(name, seed) for seed in config.seeds for name in config.schedule.schedulers]
    keys = {cell: cell_key(config, data, plans, *cell) for cell in wanted}
    runs.mkdir(parents=True, exist_ok=True)
    if config.train.nodes > 1 and not all(is_finished(_folder(runs, *cell), keys[cell]) for cell in wanted):
        check_nodes(config)
    console = make_console()
    with held(runs), _execution(config, data, scores, plans, execution) as parent:
        for cell in wanted:
            restore_folder(_folder(runs, *cell))
        if cells is None:
            _remove_others(runs, set(wanted))
        kept = [cell for cell in wanted if is_finished(_folder(runs, *cell), keys[cell])]
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
        run_ids: dict[str, str] = {}
        with TrainingProgress(len(wanted), config.train.epochs, console) as progress:

            def on_done(job: tuple[Any, ...], result: tuple[dict[str, Any], float | None, str | None]) -> None:
                metrics, seconds, run_id = result
                progress.done(job[1], job[2], metrics, seconds)
                if run_id is not None:
                    run_ids[f"{job[1]}/seed={job[2]}"] = run_id

            run_jobs(train_one, jobs, at_a_time, lambda event: progress.epoch(*event), on_done)
        if parent is not None:
            write_tracking(runs / "mlflow.json", parent, run_ids)
        else:
            (runs / "mlflow.json").unlink(missing_ok=True)


def train_one(task: Task, name: str, seed: int, finished: bool) -> tuple[dict[str, Any], float | None, str | None]:
    """Train one cell in a worker process, or log again one that is finished.

    Returns its metrics, its seconds (None where it was finished before) and its MLflow run.
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
            run.fail("FAILED" if isinstance(error, Exception) else "KILLED")
        if isinstance(error, BssError):
            raise BssError(f"{name} seed {seed}: {error}") from error
        raise
    seconds = None if finished else read_json(folder / "timing.json", "train")["seconds"]
    return metrics, seconds, None if run is None else run.run_id


def log_finished(config: Config, data: Store, folder: Path, name: str, seed: int, execution: Execution) -> str:
    """Log the finished training in `folder` as a run of `execution`; return its id."""
    run = _new_run(config, name, seed, execution)
    _log_history(run, folder)
    run.finish(folder, read_json(folder / "metrics.json", "train"), _model_to_log(config, data, folder, seed))
    return run.run_id


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
def _execution(
    config: Config, data: Store, scores: Path, plans: Path, given: Execution | None
) -> Iterator[Execution | None]:
    if given is not None or not config.tracking.enabled:
        yield given
        return
    with start_execution(config, data, scores, plans) as execution:
        yield execution


def _start_run(task: Task, data: Store, name: str, seed: int, finished: bool) -> CellRun | None:
    """Open the MLflow run of a training, or go on with that of one which was stopped."""
    if task.execution is None:
        return None
    if finished:
        return _new_run(task.config, name, seed, task.execution)
    note = checkpoints_folder(_folder(task.runs, name, seed)) / "mlflow.json"
    key = cell_key(task.config, data, task.plans, name, seed)
    known = _read_note(note)
    run = CellRun.resume(task.execution, known["run"]) if known is not None and known["cell"] == key else None
    if run is not None:
        return run
    run = _new_run(task.config, name, seed, task.execution)
    note.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(note) as file:
        write_json(file, {"run": run.run_id, "cell": key})
    return run


def _read_note(note: Path) -> dict[str, Any] | None:
    """Return which MLflow run a training that was stopped belongs to; None where that is not known (any more)."""
    try:
        return read_json(note, "train", {"run": str, "cell": str})
    except BssError:
        return None


def _new_run(config: Config, name: str, seed: int, execution: Execution) -> CellRun:
    tags = {"scheduler": name, "seed": str(seed)}
    return CellRun.start(execution, f"{name} seed={seed}", cell_parameters(config, name, seed), tags)


def _model_to_log(config: Config, data: Store, folder: Path, seed: int) -> ModelToLog | None:
    models = config.tracking.models
    if models == "none" or (models == "first-seed" and seed != config.seeds[0]):
        return None
    rows = data.rows("test")[:2]
    return ModelToLog(folder, {name: read_filled(data, name, rows) for name in data.modalities})
