"""Read the results of the trials strictly: a comparison must not use an incomplete trial."""

from dataclasses import dataclass
from math import isfinite, nan
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bss.artifacts.history import read_history
from bss.config import Config
from bss.config.combinations import PLAIN, Combination, combinations_of, epochs_of
from bss.errors import BssError
from bss.files import read_json
from bss.metrics.base import Metric, SplitMetric
from bss.metrics.final import FinalMetric
from bss.metrics.find import metrics_of
from bss.metrics.inputs import Task


@dataclass(frozen=True)
class Result:
    """One trial."""

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


def by_seed(trials: list[Result], column: str) -> npt.NDArray[np.float64]:
    """Return a column of history.csv, float64 [seeds, epochs]: the epochs that all trials have.

    Trials that stop early are shorter. A mean over the others alone would be one of other seeds.
    """
    shortest = min(len(trial.history[column]) for trial in trials)
    return np.array([trial.history[column][:shortest] for trial in trials], dtype=np.float64)


def read_results(config: Config, runs: Path, task: Task) -> dict[str, list[Result]]:
    """Return the name of each combination of scheduler and strategy to its results on `task`, by ``config.seeds``.

    Raises `BssError` naming a trial that is missing, damaged, incomplete or of another protocol.
    """
    return {
        row.name: [_read_result(config, runs / row.name / f"seed={seed}", row, seed, task) for seed in config.seeds]
        for row in combinations_of(config)
    }


def _read_result(config: Config, folder: Path, trained: Combination, seed: int, task: Task) -> Result:
    with_strategy = "" if trained.strategy == PLAIN else f" --strategy {trained.strategy}"
    command = f"`bss train --scheduler {trained.scheduler}{with_strategy} --seed {seed}`"
    if not (folder / "metrics.json").is_file():
        raise BssError(f"{folder}: this trial is missing. Run {command}.")
    fix = f"`bss train` keeps finished trials, so remove {folder}, then run {command}."
    try:
        metrics = read_json(folder / "metrics.json", "train")
        timing = read_json(folder / "timing.json", "train")
        rows = read_history(folder / "history.csv")
    except BssError as error:
        raise BssError(f"{error} {fix}") from error
    has_val = config.protocol == "honest" or (isinstance(metrics, dict) and "val/acc" in metrics)
    measured = config.evaluation.imbalance_every is not None
    _require_numbers(folder / "metrics.json", metrics, final_names(task, has_val, measured), fix)
    _require_numbers(folder / "timing.json", timing, ["seconds"], fix)
    if metrics.get("protocol") != config.protocol:
        raise BssError(
            f"{folder}: trained under protocol {metrics.get('protocol')}, but params.yaml has {config.protocol}. "
            f"Run {command}."
        )
    path = folder / "history.csv"
    epochs = epochs_of(config, trained.strategy)
    early = config.train.early_stopping
    complete = early is not None and early.stops(row.get("val/acc") or 0.0 for row in rows)
    if len(rows) > epochs or (len(rows) < epochs and not complete):
        wanted = str(config.train.epochs)
        wanted += f", of which {trained.strategy} makes {epochs}" if epochs != config.train.epochs else ""
        raise BssError(f"{path}: has {len(rows)} epochs, but train.epochs is {wanted}. {fix}")
    needed = epoch_names(task, "val" if has_val else "test")
    for epoch, row in enumerate(rows):
        _require_numbers(f"{path}, epoch {epoch}", row, needed, fix)
    columns = [column for column in rows[0] if column != "schedule/digest"]
    history = {column: [nan if row[column] is None else row[column] for row in rows] for column in columns}
    return Result(metrics, history, timing["seconds"], folder)


def final_names(task: Task, has_val: bool, measured: bool = False) -> list[str]:
    """Return the metrics that each metrics.json must have for `task`; `measured`: with its imbalance."""
    names = ["selected_epoch", "steps", "samples", "flops"]
    splits = ("val", "test") if has_val else ("test",)
    for metric in metrics_of(SplitMetric, task):
        names += [one.column for split in splits for one in metric.series(task.modalities, split)]
        names += [] if metric.per_modality else [f"last/test_{metric.name}"]
    for final in metrics_of(FinalMetric, task) if measured else ():
        names += [one.column for one in final.series(task.modalities, "test")]
    return names


def epoch_names(task: Task, watched: str) -> list[str]:
    """Return the metrics that each history.csv must have per epoch for `task`."""
    every = [metric for metric in metrics_of(Metric, task) if metric.in_every_epoch]
    return [one.column for metric in every for one in metric.series(task.modalities, watched)]


def _require_numbers(where: Path | str, values: Any, names: list[str], fix: str) -> None:
    """Raise `BssError` unless `values` is a dictionary with a finite number under each of `names`."""
    if not isinstance(values, dict):
        raise BssError(f"{where}: damaged (expected a JSON object, found a {type(values).__name__}). {fix}")
    for name in names:
        value = values.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
            raise BssError(f"{where}: {name} is {value!r}, not a number. {fix}")
