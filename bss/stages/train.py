"""Stage 4: train every scheduler and strategy with every seed."""

import shutil
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

from bss.config import Config
from bss.config.combinations import epochs_of, strategy_warnings
from bss.console import make_console
from bss.data.store import Store
from bss.errors import BssError
from bss.files import held, read_json, restore_folder
from bss.launch.nodes import check_nodes
from bss.launch.processes import await_killed_ranks, train_on_ranks
from bss.launch.workers import emit, jobs_at_a_time, run_jobs
from bss.stages.progress import TrainingProgress
from bss.stages.schedule import require_a_batch
from bss.stages.track_trials import Task, log_history, model_to_log, start_run, tracked
from bss.tracking.execution import TRACKING, Execution, write_tracking
from bss.tracking.system_metrics import sampling
from bss.tracking.trial_run import TrialRun
from bss.training.distributed.ranks import require_gpus
from bss.training.reproducible import device_type
from bss.training.resume.checkpoints import Checkpoints, checkpoints_folder
from bss.training.samples.frozen_features import write_features
from bss.training.strategy.check_needs import check_needs
from bss.training.strategy.teachers import TEACHERS, needed_teachers
from bss.training.targets import targets_for
from bss.training.trial_folder import is_finished, train_into
from bss.training.trial_spec import Trial, TrialId, all_trials, describe_trial, read_trial_plan


def train(
    config: Config,
    store: Path,
    scores: Path,
    plans: Path,
    runs: Path,
    trials: Sequence[tuple[str, int] | tuple[str, int, str]] | None = None,
    execution: Execution | None = None,
) -> None:
    """Write the folder `TrialId.path` into `runs` for each of `trials`, as in `TrialId` (None: all of params.yaml).

    A finished trial with the same code, data, plan and parameters is kept:
    an interrupted stage resumes where it stopped, and a new seed trains only that seed. Folders of
    schedulers, strategies and seeds no longer in params.yaml are removed if all trials are requested. The trials'
    MLflow runs belong to `execution`; None opens one that ends with this stage.
    """
    data = Store.open(store)
    if config.protocol == "honest" and not len(data.rows("val")):
        raise BssError(f"{store}: has no val split, which protocol honest needs for selection. Rerun `bss prepare`.")
    require_a_batch(store, len(data.rows("train")), config.train.batch_size)
    if config.train.nodes == 1 < config.train.processes and device_type(config) == "cuda":
        require_gpus(config.train.processes)
    targets_for(config.train, data)  # before any trial starts
    asked = [TrialId(*trial) for trial in trials] if trials else all_trials(config)
    check_needs(config, data, (trial.strategy for trial in asked))  # this, too
    write_features(config, store)
    wanted = [
        describe_trial(config, data, plans, trial, runs / trial.path, read_trial_plan(config, data, plans, trial))
        for trial in asked
    ]
    runs.mkdir(parents=True, exist_ok=True)
    if config.train.nodes > 1 and not all(is_finished(trial.folder, trial.key) for trial in wanted):
        check_nodes(config)
    console = make_console()
    with held(runs), tracked(config, data, scores, plans, runs, execution, console) as (parent, check):
        for trial in wanted:
            restore_folder(trial.folder)
        if trials is None:
            _remove_other_teachers(config, data, runs, wanted)
            _remove_others(runs, wanted)
        kept = {trial.id for trial in wanted if is_finished(trial.folder, trial.key)}
        for trial in wanted:
            checkpoints = checkpoints_folder(trial.folder)
            if trial.id in kept and checkpoints.exists():  # of a process that was killed before it removed them
                Checkpoints(checkpoints, trial.key, config.resources.checkpoints).remove()
        task = Task(config, store, runs, parent)
        jobs = [(task, trial, trial.id in kept) for trial in wanted]
        at_a_time = min(jobs_at_a_time(config, config.train.processes), len(wanted))
        ranks = config.train.nodes * config.train.processes
        each = f" with {ranks} processes each" if ranks > 1 else ""
        each += f" on {config.train.nodes} nodes" if config.train.nodes > 1 else ""
        selected = "test (protocol published)" if config.protocol == "published" else "val"
        console.print(
            f"train: {len(wanted)} trials, {len(kept)} kept, {at_a_time} concurrent{each}, selected on {selected}"
        )
        for text in strategy_warnings(config):
            console.print(f"Caution: {text}.", highlight=False, markup=False, soft_wrap=True)
        records: dict[str, str] = {}
        epochs = {str(trial.id): epochs_of(config, trial.id.strategy) for trial in wanted}
        with TrainingProgress(epochs, console) as progress:

            def on_done(job: tuple[Any, ...], result: tuple[dict[str, Any], float | None, str | None]) -> None:
                trial, (metrics, seconds, record) = job[1].id, result
                progress.done(str(trial), metrics, seconds)
                if record is not None:
                    records[trial.path] = record

            def on_event(event: tuple[Any, ...]) -> None:
                progress.epoch(*event)
                check()

            run_jobs(train_one, jobs, at_a_time, on_event, on_done)
        if parent is not None:
            write_tracking(runs, parent, records)
        else:
            (runs / TRACKING).unlink(missing_ok=True)


def train_one(task: Task, trial: Trial, finished: bool) -> tuple[dict[str, Any], float | None, str | None]:
    """Run one trial in a worker process, or log again one that is finished.

    Returns its metrics, its seconds (None if it was already finished) and the name of its MLflow run's record.
    """
    config, data, folder = task.config, Store.open(task.store), trial.folder
    run = start_run(task, trial, data, finished)
    try:
        if finished:
            metrics = read_json(folder / "metrics.json", "train")
            if run is not None:
                log_history(run, folder)
        else:
            sampled = run if config.tracking.system_metrics else None
            with nullcontext() if sampled is None else sampling(sampled.log_system):
                metrics = _train(task, trial, data, run)
        if run is not None:
            run.finish(folder, metrics, model_to_log(config, data, folder, trial.id.seed))
    except BaseException as error:
        if run is not None:
            with suppress(BssError):  # on a full disk; the next start ends it
                run.fail("FAILED" if isinstance(error, Exception) else "KILLED")
        if isinstance(error, BssError):
            raise BssError(f"{trial.id}: {error}") from error
        raise
    seconds = None if finished else read_json(folder / "timing.json", "train")["seconds"]
    return metrics, seconds, None if run is None else run.record


def _train(task: Task, trial: Trial, data: Store, run: TrialRun | None) -> dict[str, Any]:
    """Run one trial in this process, or in several that this one starts and follows."""
    config = task.config

    def on_epoch(row: dict[str, Any]) -> None:
        emit(str(trial.id), row)
        if run is not None:
            run.log_epoch(row)

    await_killed_ranks(trial.folder)
    if config.train.nodes * config.train.processes > 1:
        return train_on_ranks(trial, config, task.store, on_epoch)
    return train_into(trial, read_trial_plan(config, data, trial.plans, trial.id), config, data, on_epoch)


def _remove_other_teachers(config: Config, data: Store, runs: Path, wanted: Sequence[Trial]) -> None:
    keep = {trial.folder.name for trial in needed_teachers(config, data, wanted)}
    for path in (runs / TEACHERS).glob("*"):
        if not any(name in path.name for name in keep):  # also its checkpoints and its lock
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _remove_others(runs: Path, wanted: Sequence[Trial]) -> None:
    keep = {trial.folder for trial in wanted}
    keep |= {checkpoints_folder(folder) for folder in keep}
    for folder in [*runs.glob("*/seed=*"), *runs.glob("*/.seed=*")]:
        if folder not in keep:
            shutil.rmtree(folder)
    for folder in runs.iterdir():
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
