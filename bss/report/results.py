"""Read the results of the trainings strictly: a comparison must not use an incomplete training."""

from dataclasses import dataclass
from math import isfinite, nan
from pathlib import Path
from typing import Any

from bss.artifacts.history import read_history
from bss.config import Config
from bss.errors import BssError
from bss.files import read_json


@dataclass(frozen=True)
class Result:
    """One training."""

    metrics: dict[str, Any]
    """metrics.json."""
    history: dict[str, list[float]]
    """history.csv by column; an empty cell is NaN."""
    seconds: float
    folder: Path

    @property
    def watched(self) -> str:
        """The split to watch during training: val, or test if there is no val (protocol published)."""
        return "val" if "val/acc" in self.history else "test"


METRICS = (
    *("selected_epoch", "steps", "samples"),
    *(f"test/{name}" for name in ("acc", "f1_macro", "map")),
    *(f"last/test_{name}" for name in ("acc", "f1_macro", "map")),
)
"""Required keys of metrics.json; per modality m also test/acc_m."""
COLUMNS = (
    *("learning_rate", "train/loss", "balance/gap"),
    *(f"schedule/{name}" for name in ("fraction", "samples", "steps")),
)
"""Required columns of history.csv; also acc, f1_macro and acc_m of the watched split."""


def read_results(config: Config, runs: Path) -> dict[str, list[Result]]:
    """Return the results of each scheduler, in the order of ``config.seeds``.

    Raises `BssError` naming a training that is missing, damaged, incomplete or of another protocol.
    """
    return {
        name: [_read_result(config, runs / name / f"seed={seed}", name, seed) for seed in config.seeds]
        for name in config.schedule.schedulers
    }


def _read_result(config: Config, folder: Path, name: str, seed: int) -> Result:
    command = f"`bss train --scheduler {name} --seed {seed}`"
    if not (folder / "metrics.json").is_file():
        raise BssError(f"{folder}: this training is missing. Run {command}.")
    cure = f"`bss train` keeps finished trainings, so remove {folder}, then run {command}."
    try:
        metrics = read_json(folder / "metrics.json", "train")
        timing = read_json(folder / "timing.json", "train")
        rows = read_history(folder / "history.csv")
    except BssError as error:
        raise BssError(f"{error} {cure}") from error
    names = tuple(config.prepare.modalities)
    has_val = config.protocol == "honest" or (isinstance(metrics, dict) and "val/acc" in metrics)
    facts = ("acc", "f1_macro", *(f"acc_{modality}" for modality in names))
    known = {split: tuple(f"{split}/{fact}" for fact in facts) for split in ("val", "test")}
    of_val = known["val"] if has_val else ()
    _require_numbers(folder / "metrics.json", metrics, (*METRICS, *of_val, *known["test"]), cure)
    _require_numbers(folder / "timing.json", timing, ("seconds",), cure)
    if metrics.get("protocol") != config.protocol:
        raise BssError(
            f"{folder}: trained under protocol {metrics.get('protocol')}, but params.yaml has {config.protocol}. "
            f"Run {command}."
        )
    path = folder / "history.csv"
    if len(rows) != config.train.epochs:
        raise BssError(f"{path}: has {len(rows)} epochs, but train.epochs is {config.train.epochs}. {cure}")
    for epoch, row in enumerate(rows):
        _require_numbers(f"{path}, epoch {epoch}", row, (*COLUMNS, *(of_val or known["test"])), cure)
    columns = [column for column in rows[0] if column != "schedule/digest"]
    history = {column: [nan if row[column] is None else row[column] for row in rows] for column in columns}
    return Result(metrics, history, timing["seconds"], folder)


def _require_numbers(where: Path | str, values: Any, names: tuple[str, ...], cure: str) -> None:
    """Raise `BssError` unless `values` is a dictionary with a finite number under each of `names`."""
    if not isinstance(values, dict):
        raise BssError(f"{where}: damaged (expected a JSON object, found a {type(values).__name__}). {cure}")
    for name in names:
        value = values.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
            raise BssError(f"{where}: {name} is {value!r}, not a number. {cure}")
