"""The scores of one seed: paths, columns, and the reader."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bss.balance.sorting import stable_argsort
from bss.data.store import Store
from bss.data.tables import open_table
from bss.errors import BssError

FILES = {"warm-up": "scores.parquet", "initial": "initial.parquet"}
"""Timing of a measurement to its file."""

Columns = dict[str, npt.NDArray[np.float64]]
"""Measured values by name: float64 [n] each."""


def measurement_titles(warmup_epochs: int, initial_mode: str) -> dict[str, str]:
    """Return the title of each measurement with its timing, the initial one first.

    Without warm-up epochs both timings measure the freshly initialised network and differ only in its mode; with
    `initial_mode` eval they are the same measurement, listed once.
    """
    initial = f"initial network, {initial_mode} mode"
    if warmup_epochs == 0:
        return {initial: "initial", "initial network, eval mode": "warm-up"}
    return {initial: "initial", "after the warm-up": "warm-up"}


def scores_path(scores: Path, seed: int, timing: str) -> Path:
    """Return the file of one measurement."""
    return scores / f"seed={seed}" / FILES[timing]


def scores_table(store: Store, columns: Columns) -> dict[str, Any]:
    """Return the table of scores.parquet: sample, criteria, score, rank and facts per modality."""
    rows = store.rows("train")
    ranks = np.empty(len(rows), dtype=np.int64)
    ranks[stable_argsort(-columns["score"])] = np.arange(len(rows))
    facts = {
        name: values.astype(np.int64) if name.startswith("predicted_") else values
        for name, values in columns.items()
        if name != "score"
    }
    head = {"index": rows, "id": store.id_column(rows), "label": store.labels[rows]}
    return {**head, **facts, "score": columns["score"], "rank": ranks}


def read_scores(path: Path, store: Store) -> npt.NDArray[np.float64]:
    """Return the balance score of each training sample of `store`, float64 [n], in the store's order.

    Raises `BssError` if the file is damaged, or was measured on other samples.
    """
    table = open_table(path, "measure", ("index", "id", "score"))
    rows = store.rows("train")
    same = np.array_equal(table.whole_numbers("index"), rows) and table.text_column("id").equals(store.id_column(rows))
    if not same:
        raise BssError(
            f"{path}: its {len(table)} samples are not the {len(rows)} training samples of {store.path}. "
            "Run `bss measure` again."
        )
    return table.numbers("score")
