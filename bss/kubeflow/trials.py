"""The trials of a run: fanned out after planning, collected for the comparison."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from bss.config import Config
from bss.config.combinations import PLAIN, combinations_of, epochs_of
from bss.data.store import Store
from bss.errors import BssError
from bss.files import digest_json, read_json, write_json
from bss.kubeflow.parameters import config_from_part, trial_part
from bss.stages.track_trials import log_finished
from bss.tracking.execution import TRACKING, Execution, read_tracking, write_tracking
from bss.tracking.journal import spool_folder, unsent
from bss.training.strategy.teachers import TEACHERS
from bss.training.trial_spec import TrialId, all_trials, read_trial_plan

TRIALS = "cells.json"  # the old word for trials; it stays, as finished steps that are reused have it
"""File among the plans with what decides each trial."""


def list_trials(config: Config, store: Path, plans: Path) -> list[dict[str, Any]]:
    """Write what decides each trial to `plans` and return the trials, one per seed, scheduler and strategy.

    ``digest`` covers everything a trial uses from `store` and `plans`, including its parameters: Kubeflow
    compares values and artifact names, never contents, and long values are impractical.
    """
    data = Store.open(store)
    trials, parts = [], {}
    for trial in all_trials(config):
        plan = read_trial_plan(config, data, plans, trial)
        part = parts[trial.path] = {"plan": plan.digest, "parameters": trial_part(config, *trial)}
        trials.append({**trial.fields, "digest": digest_json(part)})
    write_json(plans / TRIALS, parts)
    return trials


def trial_config(plans: Path, scheduler: str, seed: int, digest: str, strategy: str = PLAIN) -> Config:
    """Return the configuration of one trial from `list_trials`.

    Raises `BssError` if `plans` has no such trial, or one with a different digest.
    """
    parts = read_json(plans / TRIALS, "schedule")
    trial = TrialId(scheduler, seed, strategy)
    part = parts.get(trial.path)
    if part is None:
        raise BssError(f"{plans / TRIALS}: has no trial of {trial.row} with seed {seed}, only {', '.join(parts)}.")
    if digest_json(part) != digest:
        raise BssError(
            f"{plans / TRIALS}: {trial.row} with seed {seed} is {digest_json(part)[:12]} there, expected "
            f"{digest[:12]}: these plans belong to another run. Rerun the pipeline without its cache."
        )
    return config_from_part(part["parameters"])


def most_epochs(config: Config) -> int:
    """Return the epochs of the longest trial of a run."""
    return max(epochs_of(config, combination.strategy) for combination in combinations_of(config))


def taught_strategies(config: Config) -> list[str]:
    """Return the names of the strategies that need teachers."""
    return [name for name, strategy in config.strategies.items() if strategy.needs_teachers]


def without_tracking(config: Config) -> Config:
    """Return `config` for a trial that is not logged to MLflow."""
    return replace(config, tracking=replace(config.tracking, enabled=False))


def share_teachers(runs: Path, shared: Path) -> None:
    """Have the trials in `runs`, which is new, look for their teachers in `shared`, and leave them there."""
    runs.mkdir()
    shared.mkdir(exist_ok=True)
    (runs / TEACHERS).symlink_to(shared.resolve(), target_is_directory=True)


def take_trial(runs: Path, scheduler: str, seed: int, trial: Path, strategy: str = PLAIN) -> dict[str, Any]:
    """Move the one trial in `runs` to `trial`, with what MLflow knows of it beside it; return its metrics."""
    taken = TrialId(scheduler, seed, strategy).path
    folder = runs / taken
    tracking = read_tracking(runs)
    if tracking is not None:
        execution, records = tracking
        whole = not unsent(spool_folder(runs))
        note = {"record": records[taken], "parent": execution.record, "whole": whole}
        write_json(folder / TRACKING, note)
    trial.parent.mkdir(parents=True, exist_ok=True)
    folder.rename(trial)
    metrics: dict[str, Any] = read_json(trial / "metrics.json", "train")
    return metrics


def collect_trials(groups: Iterable[Path], runs: Path) -> None:
    """Link the trials in the folders `groups` into the layout of the stage train, `TrialId.path`.

    Raises `BssError` if a folder has no trial, holds something else, or two trials are the same one.
    """
    for group in groups:
        trials = sorted(group.glob("*/seed=*"))
        if not trials:
            raise BssError(f"{group}: not found, or has no trial <scheduler>/seed=<s> in it.")
        for trial in trials:
            parameters = read_json(trial / "provenance.json", "train")["parameters"]
            strategy = parameters.get("strategy_name", PLAIN)
            found = TrialId(parameters["scheduler_name"], parameters["seed"], strategy)
            folder = runs / found.path
            if folder.exists():
                raise BssError(f"{trial}: a second trial of {found}.")
            folder.parent.mkdir(parents=True, exist_ok=True)
            folder.symlink_to(trial.resolve(), target_is_directory=True)


def track_trials(config: Config, data: Store, runs: Path, execution: Execution) -> int:
    """Make every collected trial a child of this run's MLflow run; return the number logged here.

    Logged here are those that Kubeflow reused from an earlier run, whose MLflow run has them, and those that could not
    be logged because MLflow did not answer.
    """
    records: dict[str, str] = {}
    logged = 0
    for trial in all_trials(config):
        folder = runs / trial.path
        known = read_json(folder / TRACKING, "train") if (folder / TRACKING).is_file() else {}
        own = known.get("parent") == execution.record
        if not own or not known["whole"]:
            replaced = known["record"] if own else None
            known["record"] = log_finished(spool_folder(runs), config, data, folder, trial, execution, replaced)
            logged += 1
        records[trial.path] = known["record"]
    write_tracking(runs, execution, records)
    return logged
