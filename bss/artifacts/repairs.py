"""repairs.parquet: what a strategy hid from training samples, epoch by epoch."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bss.data.tables import open_table, write_table
from bss.errors import BssError

REPAIRS = "repairs.parquet"
LABEL = -1
"""Stands in for a modality's number: the label is to blame, so the sample has no loss."""
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Repairs:
    """The rows of the file, k cases."""

    epoch: Ints
    """From 0, [k]."""
    index: Ints
    """Row of the sample in the store, [k]."""
    modality: list[str | None]
    """Hidden modality; None if the label was to blame, [k]."""


def write_repairs(
    path: Path, hidden: Sequence[tuple[Ints, Ints, npt.NDArray[np.float64]]], rows: Ints, modalities: list[str]
) -> None:
    """Write (positions in train, number of the modality or `LABEL`, probability) of each epoch.

    `rows` [n] are the rows of train in the store.
    """
    import pyarrow

    counts = [len(positions) for positions, _, _ in hidden]
    positions, numbers, probability = (np.concatenate(column) for column in zip(*hidden, strict=True))
    names = [None if number == LABEL else modalities[number] for number in numbers.tolist()]
    kinds = ["label" if name is None else "contradiction" for name in names]
    columns = {
        "epoch": np.repeat(np.arange(len(hidden)), counts),
        "index": rows[positions],
        "kind": pyarrow.array(kinds, type=pyarrow.string()),
        "modality": pyarrow.array(names, type=pyarrow.string()),
        "probability": probability,
    }
    write_table(path, columns)


def read_repairs(path: Path, rows: Ints, modalities: list[str]) -> Repairs:
    """Return the file's content for train, whose rows in the store are `rows`; raises `BssError` if it is damaged."""
    table = open_table(path, "train", ("epoch", "index", "modality"))
    found = Repairs(table.whole_numbers("epoch"), table.whole_numbers("index"), table.optional_texts("modality"))
    if not set(found.index.tolist()) <= set(rows.tolist()) or not set(found.modality) <= {None, *modalities}:
        raise BssError(
            f"{path}: names samples or modalities that train does not have. `bss train` keeps finished trials, so "
            f"remove {path.parent}, then rerun it."
        )
    return found
