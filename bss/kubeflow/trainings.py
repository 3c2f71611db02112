"""The trainings of a run: fanned out after planning, collected for the comparison."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from bss.artifacts.plans import read_plan
from bss.config import Config, config_to_tree
from bss.data.store import Store
from bss.errors import BssError
from bss.files import digest_json, read_json, write_json
from bss.kubeflow.parameters import config_from_part, trial_part
from bss.stages.track_trainings import log_finished
from bss.tracking.execution import TRACKING, Execution, read_tracking, write_tracking
from bss.tracking.journal import spool_folder, unsent

TRIALS = "cells.json"
"""File among the plans with what decides each training."""


def list_trials(config: Config, store: Path, plans: Path) -> list[dict[str, Any]]:
    """Write what decides each training to `plans` and return the trainings, one per seed and scheduler.

    ``digest`` covers everything a training uses from `store` and `plans`, including its parameters: Kubeflow
    compares values and artifact names, never contents, and long values are impractical.
    """
    data = Store.open(store)
    trials, parts = [], {}
    for seed in config.seeds:
        for name, entry in config.schedule.schedulers.items():
            plan = read_plan(plans, name, seed, data, config_to_tree(entry))
            part = parts[_key(name, seed)] = {"plan": plan.digest, "parameters": trial_part(config, name, seed)}
            trials.append({"scheduler": name, "seed": seed, "digest": digest_json(part)})
    write_json(plans / TRIALS, parts)
    return trials


def trial_config(plans: Path, scheduler: str, seed: int, digest: str) -> Config:
    """Return the configuration of one training from `list_trials`.

    Raises `BssError` if `plans` has no such training, or one with a different digest.
    """
    parts = read_json(plans / TRIALS, "schedule")
    part = parts.get(_key(scheduler, seed))
    if part is None:
        raise BssError(f"{plans / TRIALS}: has no training of {scheduler} with seed {seed}, only {', '.join(parts)}.")
    if digest_json(part) != digest:
        raise BssError(
            f"{plans / TRIALS}: {scheduler} with seed {seed} is {digest_json(part)[:12]} there, expected "
            f"{digest[:12]}: these plans belong to another run. Rerun the pipeline without its cache."
        )
    return config_from_part(part["parameters"])


def without_tracking(config: Config) -> Config:
    """Return `config` for a training that is not logged to MLflow."""
    return replace(config, tracking=replace(config.tracking, enabled=False))


def _key(scheduler: str, seed: int) -> str:
    return f"{scheduler}/seed={seed}"


def take_trial(runs: Path, scheduler: str, seed: int, trial: Path) -> dict[str, Any]:
    """Move the only training in `runs` to `trial`, together with its MLflow record; return its metrics."""
    folder = runs / scheduler / f"seed={seed}"
    tracking = read_tracking(runs)
    if tracking is not None:
        execution, records = tracking
        whole = not unsent(spool_folder(runs))
        note = {"record": records[_key(scheduler, seed)], "parent": execution.record, "whole": whole}
        write_json(folder / TRACKING, note)
    folder.rename(trial)
    metrics: dict[str, Any] = read_json(trial / "metrics.json", "train")
    return metrics


def collect_trials(trials: Iterable[Path], runs: Path) -> None:
    """Arrange the folders of single trainings as links in the layout of the stage train, ``<scheduler>/seed=<s>``.

    Raises `BssError` if a folder is not a training, or two are the same one.
    """
    for trial in trials:
        parameters = read_json(trial / "provenance.json", "train")["parameters"]
        folder = runs / parameters["scheduler_name"] / f"seed={parameters['seed']}"
        if folder.exists():
            raise BssError(f"{trial}: a second training of {parameters['scheduler_name']} seed {parameters['seed']}.")
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.symlink_to(trial.resolve(), target_is_directory=True)


def track_trials(config: Config, data: Store, runs: Path, execution: Execution) -> int:
    """Make every collected training a child of this run's MLflow run; return the number logged here.

    Logged here are those that Kubeflow reused from an earlier run, whose MLflow run has them, and those that could not
    be logged because MLflow did not answer.
    """
    records: dict[str, str] = {}
    logged = 0
    for name in config.schedule.schedulers:
        for seed in config.seeds:
            folder = runs / name / f"seed={seed}"
            known = read_json(folder / TRACKING, "train") if (folder / TRACKING).is_file() else {}
            own = known.get("parent") == execution.record
            if not own or not known["whole"]:
                replaced = known["record"] if own else None
                spool = spool_folder(runs)
                known["record"] = log_finished(spool, config, data, folder, name, seed, execution, replaced)
                logged += 1
            records[_key(name, seed)] = known["record"]
    write_tracking(runs, execution, records)
    return logged
