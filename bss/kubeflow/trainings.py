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
"""File among the plans that tells what decides each training."""


def list_trials(config: Config, store: Path, plans: Path) -> list[dict[str, Any]]:
    """Write what decides each training into `plans` and return the trainings, one per seed and scheduler.

    ``digest`` covers all that a training takes from `store` and `plans`, its parameters included: Kubeflow
    compares values and the names of artifacts, never their contents, and long values are better kept out of it.
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
    """Return the configuration of one training that `list_trials` listed.

    Raises `BssError` where `plans` holds another training than the one of `digest`, or none.
    """
    parts = read_json(plans / TRIALS, "schedule")
    part = parts.get(_key(scheduler, seed))
    if part is None:
        raise BssError(f"{plans / TRIALS}: has no training of {scheduler} with seed {seed}, but {', '.join(parts)}.")
    if digest_json(part) != digest:
        raise BssError(
            f"{plans / TRIALS}: {scheduler} with seed {seed} is {digest_json(part)[:12]} there, expected "
            f"{digest[:12]}: these plans are of another run. Run the pipeline without its cache."
        )
    return config_from_part(part["parameters"])


def without_tracking(config: Config) -> Config:
    """Return `config` for a training that is not logged to MLflow."""
    return replace(config, tracking=replace(config.tracking, enabled=False))


def _key(scheduler: str, seed: int) -> str:
    return f"{scheduler}/seed={seed}"


def take_trial(runs: Path, scheduler: str, seed: int, trial: Path) -> dict[str, Any]:
    """Move the one training in `runs` to `trial`, with what MLflow knows of it beside it; return its metrics."""
    folder = runs / scheduler / f"seed={seed}"
    tracking = read_tracking(runs)
    if tracking is not None:
        execution, records = tracking
        whole = not unsent(spool_folder(runs))
        note = {"record": records[_key(scheduler, seed)], "parent": execution.record, "whole": whole}
        write_json(folder / TRACKING, note)
    trial.parent.mkdir(parents=True, exist_ok=True)
    folder.rename(trial)
    metrics: dict[str, Any] = read_json(trial / "metrics.json", "train")
    return metrics


def collect_trials(groups: Iterable[Path], runs: Path) -> None:
    """Lay the trainings in the folders `groups` out as the stage train does, ``<scheduler>/seed=<s>``, as links.

    Raises `BssError` if a folder has no training, something in it is none, or two are the same one.
    """
    for group in groups:
        trials = sorted(group.glob("*/seed=*"))
        if not trials:
            raise BssError(f"{group}: not found, or has no training <scheduler>/seed=<s> in it.")
        for trial in trials:
            parameters = read_json(trial / "provenance.json", "train")["parameters"]
            folder = runs / _key(parameters["scheduler_name"], parameters["seed"])
            if folder.exists():
                name = f"{parameters['scheduler_name']} seed {parameters['seed']}"
                raise BssError(f"{trial}: a second training of {name}.")
            folder.parent.mkdir(parents=True, exist_ok=True)
            folder.symlink_to(trial.resolve(), target_is_directory=True)


def track_trials(config: Config, data: Store, runs: Path, execution: Execution) -> int:
    """Make every collected training a child of this run's MLflow run; return how many are logged here.

    That are those that Kubeflow took from an earlier run, which were logged to that one, and those that MLflow
    did not answer to.
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
