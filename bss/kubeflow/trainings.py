"""The trainings of a run: fanned out after planning, collected for the comparison."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bss.config import Config, config_to_tree
from bss.data.plans import read_plan
from bss.data.store import Store
from bss.errors import BssError
from bss.files import read_json, write_json
from bss.kubeflow.parameters import cell_part
from bss.stages.train import log_finished
from bss.tracking.runs import Execution, write_tracking

TRACKING = "mlflow.json"
"""File in a training's folder that tells its MLflow run."""


def list_cells(config: Config, store: Path, plans: Path) -> list[dict[str, Any]]:
    """Return a training per seed and scheduler: what decides it, as values that a parallel loop passes on.

    ``plan`` is the digest of all that the training takes from `store` and `plans`: Kubeflow compares values
    and the names of artifacts, never their contents.
    """
    data = Store.open(store)
    return [
        {
            "scheduler": name,
            "seed": seed,
            "plan": read_plan(plans, name, seed, data, config_to_tree(entry)).digest,
            "parameters": cell_part(config, name, seed),
        }
        for seed in config.seeds
        for name, entry in config.schedule.schedulers.items()
    ]


def take_cell(runs: Path, scheduler: str, seed: int, cell: Path) -> dict[str, Any]:
    """Move the one training in `runs` to `cell`, with the id of its MLflow run beside it; return its metrics."""
    tracking = runs / TRACKING
    folder = runs / scheduler / f"seed={seed}"
    if tracking.is_file():
        known = read_json(tracking, "train")
        run_id = known["runs"][f"{scheduler}/seed={seed}"]
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
            run_ids[f"{name}/seed={seed}"] = known["run"]
    write_tracking(runs / TRACKING, execution, run_ids)
    return reused
