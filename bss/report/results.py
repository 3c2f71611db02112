"""Reading what the trainings left behind."""

from dataclasses import dataclass
from math import nan
from pathlib import Path
from typing import Any

from bss.config import Config
from bss.errors import BssError
from bss.files import read_json
from bss.training.history import read_history


@dataclass(frozen=True)
class Result:
    """One training."""

    metrics: dict[str, Any]
    """metrics.json."""
    history: dict[str, list[float]]
    """history.csv by column; an empty cell is NaN."""
    seconds: float
    folder: Path


def read_results(config: Config, runs: Path) -> dict[str, list[Result]]:
    """Return scheduler name to its results in the order of ``config.seeds``.

    Raises `BssError` that names a training that is missing, damaged, or of another protocol.
    """
    return {
        name: [_read_result(config, runs / name / f"seed={seed}", name, seed) for seed in config.seeds]
        for name in config.schedule.schedulers
    }


def _read_result(config: Config, folder: Path, name: str, seed: int) -> Result:
    cure = f"Run `bss train --scheduler {name} --seed {seed}`."
    if not (folder / "metrics.json").is_file():
        raise BssError(f"{folder}: this training is missing. {cure}")
    metrics = read_json(folder / "metrics.json", "train")
    if metrics.get("protocol") != config.protocol:
        raise BssError(
            f"{folder}: trained under protocol {metrics.get('protocol')}, but params.yaml has {config.protocol}. {cure}"
        )
    rows = read_history(folder / "history.csv")
    columns = [name for name in rows[0] if name != "schedule/digest"]
    history = {name: [nan if row[name] is None else row[name] for row in rows] for name in columns}
    return Result(metrics, history, read_json(folder / "timing.json", "train")["seconds"], folder)
