"""Stage 4: train every scheduler with every seed."""

import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

from bss.config import Config
from bss.console import make_console
from bss.data.store import Store
from bss.errors import BssError
from bss.files import held, read_json, restore_folder
from bss.launch.nodes import check_nodes
from bss.launch.processes import await_killed_ranks, train_on_ranks
from bss.launch.workers import emit, jobs_at_a_time, run_jobs
from bss.stages.progress import TrainingProgress
from bss.stages.schedule import require_a_batch
from bss.stages.track_trainings import Task, Trial, log_history, model_to_log, start_run, tracked, trial_path
from bss.tracking.execution import TRACKING, Execution, write_tracking
from bss.tracking.trial_run import TrialRun
from bss.training.distributed.ranks import require_gpus
from bss.training.reproducible import device_type
from bss.training.resume.checkpoints import Checkpoints, checkpoints_folder
from bss.training.trial_folder import is_finished, train_into, trial_key


def train(
    config: Config,
    store: Path,
    scores: Path,
    plans: Path,
    runs: Path,
    trials: list[Trial] | None = None,
    execution: Execution | None = None,
) -> None:
    """Write ``<scheduler>/seed=<s>/`` into `runs` for each of `trials` (None: all in params.yaml).

    A finished trial with the same code, data, plan and parameters is kept:
    an interrupted stage resumes where it stopped, and a new seed trains only that seed. Folders of
    schedulers and seeds no longer in params.yaml are removed if all trials are requested. The trials'
    MLflow runs belong to `execution`; None opens one that ends with this stage.
    """
    data = Store.open(store)
    if config.protocol == "honest" and not len(data.rows("val")):
        raise BssError(f"{store}: has no val, which protocol honest needs for selection. Rerun `bss prepare` with it.")
    require_a_batch(store, len(data.rows("train")), config.train.batch_size)
    if config.train.nodes == 1 < config.train.processes and device_type(config) == "cuda":
        require_gpus(config.train.processes)
    wanted = trials or [(name, seed) for seed in config.seeds for name in config.schedule.schedulers]
    keys = {trial: trial_key(config, data, plans, *trial) for trial in wanted}
    runs.mkdir(parents=True, exist_ok=True)
    if config.train.nodes > 1 and not all(is_finished(trial_path(runs, *trial), keys[trial]) for trial in wanted):
        check_nodes(config)
    console = make_console()
    with held(runs), tracked(config, data, scores, plans, runs, execution, console) as (parent, check):
        for trial in wanted:
            restore_folder(trial_path(runs, *trial))
        if trials is None:
            _remove_others(runs, set(wanted))
        kept = [trial for trial in wanted if is_finished(trial_path(runs, *trial), keys[trial])]
        for trial in kept:
            checkpoints = checkpoints_folder(trial_path(runs, *trial))
            if checkpoints.exists():  # left by a process killed between its end and their removal
                Checkpoints(checkpoints, keys[trial], config.resources.checkpoints).remove()
        task = Task(config, store, plans, runs, parent)
        jobs = [(task, *trial, trial in kept) for trial in wanted]
        at_a_time = min(jobs_at_a_time(config, config.train.processes), len(wanted))
        ranks = config.train.nodes * config.train.processes
        each = f" with {ranks} processes each" if ranks > 1 else ""
        each += f" on {config.train.nodes} nodes" if config.train.nodes > 1 else ""
        selected = "test (protocol published)" if config.protocol == "published" else "val"
        console.print(
            f"train: {len(wanted)} trainings, {len(kept)} kept, {at_a_time} concurrent{each}, selected on {selected}"
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
    """Run one trial in a worker process, or log a finished one again.

    Returns its metrics, its seconds (None if it was already finished) and the name of its MLflow run's record.
    """
    config, data = task.config, Store.open(task.store)
    folder = trial_path(task.runs, name, seed)
    run = start_run(task, data, name, seed, finished)
    try:
        if finished:
            metrics = read_json(folder / "metrics.json", "train")
            if run is not None:
                log_history(run, folder)
        else:
            metrics = _train(task, data, name, seed, run)
        if run is not None:
            run.finish(folder, metrics, model_to_log(config, data, folder, seed))
    except BaseException as error:
        if run is not None:
            with suppress(BssError):  # on a full disk; the next start ends it
                run.fail("FAILED" if isinstance(error, Exception) else "KILLED")
        if isinstance(error, BssError):
            raise BssError(f"{name} seed {seed}: {error}") from error
        raise
    seconds = None if finished else read_json(folder / "timing.json", "train")["seconds"]
    return metrics, seconds, None if run is None else run.record


def _train(task: Task, data: Store, name: str, seed: int, run: TrialRun | None) -> dict[str, Any]:
    """Run one trial in this process, or in several that this one starts and follows."""
    config, folder = task.config, trial_path(task.runs, name, seed)

    def on_epoch(row: dict[str, Any]) -> None:
        emit(name, seed, row)
        if run is not None:
            run.log_epoch(row)

    await_killed_ranks(folder)
    if config.train.nodes * config.train.processes > 1:
        return train_on_ranks(folder, config, task.store, task.plans, name, seed, on_epoch)
    return train_into(folder, config, data, task.plans, name, seed, on_epoch)


def _remove_others(runs: Path, wanted: set[Trial]) -> None:
    keep = {trial_path(runs, *trial) for trial in wanted}
    keep |= {checkpoints_folder(folder) for folder in keep}
    for folder in [*runs.glob("*/seed=*"), *runs.glob("*/.seed=*")]:
        if folder not in keep:
            shutil.rmtree(folder)
    for folder in runs.iterdir():
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
