"""What strategies that repair have hidden, by epoch, and how much of it is truly wrong if the truth is known."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bss.artifacts.repairs import REPAIRS, Ints, Repairs, read_repairs
from bss.data.store import Store
from bss.report.comparison import Results
from bss.report.tables import PageTable, page_table

SHOWN = 5
"""Epochs in the table, evenly spread from the first one that hides something to the last."""
CLEAN = "clean"


@dataclass(frozen=True)
class RepairedEpoch:
    """Means over the seeds, as shares."""

    hidden: float
    """Share of the samples of train in which something is hidden."""
    labels: float
    """Share of the samples of train without any loss, because the label is to blame."""
    precision: float | None
    """Share of the hidden that is truly wrong. None if the truth is unknown, or nothing is hidden."""
    recall: float | None
    """Share of the truly wrong samples in which something is hidden. None if the truth is unknown or all clean."""


def repaired_epochs(results: Results, store: Store) -> dict[str, list[RepairedEpoch]]:
    """Return for each row of the comparison that repairs what it hid in each epoch."""
    rows = store.rows("train")
    truth = store.truth()
    wrong = None if truth is None else np.array([truth[name] != CLEAN for name in store.ids.tolist()])
    found = {}
    for name, trials in results.items():
        paths = [trial.folder / REPAIRS for trial in trials]
        if all(path.exists() for path in paths):
            repairs = [read_repairs(path, rows, list(store.modalities)) for path in paths]
            epochs = min(len(next(iter(trial.history.values()))) for trial in trials)
            found[name] = [_epoch([_of_epoch(r, epoch) for r in repairs], rows, wrong) for epoch in range(epochs)]
    return found


def repairs_table(found: dict[str, list[RepairedEpoch]]) -> PageTable:
    """Return a row per strategy and shown epoch; the files have all epochs."""
    titles = ["row", "epoch", "hidden", "of these labels", "truly wrong", "of all wrong"]
    exact = [
        {"row": name, "epoch": epoch + 1, **vars(values)}
        for name, epochs in found.items()
        for epoch, values in enumerate(epochs)
    ]
    rows = []
    for name, epochs in found.items():
        acting = [epoch for epoch, values in enumerate(epochs) if values.hidden > 0] or [len(epochs) - 1]
        for epoch in sorted({round(at) for at in np.linspace(acting[0], len(epochs) - 1, SHOWN)}):
            e = epochs[epoch]
            labels = e.labels / e.hidden if e.hidden else None
            rows.append([name, str(epoch + 1), *map(_percent, (e.hidden, labels, e.precision, e.recall))])
    return page_table("repairs", titles, rows, exact)


def _of_epoch(repairs: Repairs, epoch: int) -> tuple[Ints, int]:
    """Return the store rows in which `epoch` hides something, and for how many the label is to blame."""
    places = np.flatnonzero(repairs.epoch == epoch)
    return repairs.index[places], sum(repairs.modality[place] is None for place in places)


def _epoch(seeds: list[tuple[Ints, int]], rows: Ints, wrong: npt.NDArray[np.bool_] | None) -> RepairedEpoch:
    n = len(rows)
    hidden = float(np.mean([len(index) / n for index, _ in seeds]))
    labels = float(np.mean([count / n for _, count in seeds]))
    if wrong is None:
        return RepairedEpoch(hidden, labels, None, None)
    total = int(wrong[rows].sum())
    precision = _mean([wrong[index].mean() for index, _ in seeds if len(index)])
    recall = _mean([wrong[index].sum() / total for index, _ in seeds if total])
    return RepairedEpoch(hidden, labels, precision, recall)


def _mean(values: list[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f} %"
