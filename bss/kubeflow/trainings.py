"""The trainings of a run: fanned out after planning, collected for the comparison."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bss.config import Config, config_to_tree
from bss.data.plans import read_plan
from bss.data.store import Store
from bss.errors import BssError
from bss.files import read_json, write_json
from bss.kubeflow.fan_out import read_part, write_parts
from bss.kubeflow.parameters import cell_part, config_from_part
from bss.stages.train import log_finished
from bss.tracking.runs import Execution, write_tracking

CELLS = "cells.json"
"""File among the plans that tells what decides each training."""
TRACKING = "mlflow.json"
"""File in a training's folder that tells its MLflow run."""


def list_cells(config: Config, store: Path, plans: Path) -> list[dict[str, Any]]:
    """Write what decides each training into `plans` and return the trainings, one per seed and scheduler.

    ``digest`` covers all that a training takes from `store` and `plans`, its parameters included.
    """
    data = Store.open(store)
    parts = {}
    for seed in config.seeds:
        for name, entry in config.schedule.schedulers.items():
            plan = read_plan(plans, name, seed, data, config_to_tree(entry))
            parts[name, seed] = {"plan": plan.digest, "parameters": cell_part(config, name, seed)}
    digests = write_parts(plans / CELLS, {_key(*cell): part for cell, part in parts.items()})
    return [{"scheduler": name, "seed": seed, "digest": digests[_key(name, seed)]} for name, seed in parts]


def cell_config(plans: Path, scheduler: str, seed: int, digest: str) -> Config:
    """Return the configuration of one training that `list_cells` listed.

    Raises `BssError` where `plans` holds another training than the one of `digest`, or none.
    """
    return config_from_part(read_part(plans / CELLS, _key(scheduler, seed), digest, "schedule")["parameters"])


def _key(scheduler: str, seed: int) -> str:
    return f"{scheduler}/seed={seed}"


def take_cell(runs: Path, scheduler: str, seed: int, cell: Path) -> dict[str, Any]:
    """Move the one training in `runs` to `cell`, with the id of its MLflow run beside it; return its metrics."""
    tracking = runs / TRACKING
    folder = runs / scheduler / f"seed={seed}"
    if tracking.is_file():
        known = read_json(tracking, "train")
        run_id = known["runs"][_key(scheduler, seed)]
        write_json(folder / TRACKING, {"run": run_id, "parent": known["parent_run_id"]})
    folder.rename(cell)
    metrics: dict[str, Any] = read_json(cell / "metrics.json", "train")
    return metrics


def collect_cells(cells: Iterable[Path], runs: Path) -> None:
    """Lay the folders of single trainings out as the stage train does, ``<scheduler>/seed=<s>``, as links.

    Raises `BssError` where a folder is no training, or two are the same one.
    """
    for cell in cells:
        parameters = read_json(cell / "provenance.json", "train")["parameters"]
        folder = runs / parameters["scheduler_name"] / f"seed={parameters['seed']}"
        if folder.exists():
            raise BssError(f"{cell}: a second training of {parameters['scheduler_name']} seed {parameters['seed']}.")
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.symlink_to(cell.resolve(), target_is_directory=True)


def track_cells(config: Config, data: Store, runs: Path, execution: Execution) -> int:
    """Make every collected training a child of this run's MLflow run; return how many were reused.

    A training that Kubeflow took from an earlier run was logged to that one; it is logged again here.
    """
    run_ids: dict[str, str] = {}
    reused = 0
    for name in config.schedule.schedulers:
        for seed in config.seeds:
            folder = runs / name / f"seed={seed}"
            known = read_json(folder / TRACKING, "train") if (folder / TRACKING).is_file() else {}
            if known.get("parent") != execution.parent_run_id:
                known["run"] = log_finished(config, data, folder, name, seed, execution)
                reused += 1
            run_ids[_key(name, seed)] = known["run"]
    write_tracking(runs / TRACKING, execution, run_ids)
    return reused
