"""Honest splits of published datasets: no actor, video, subject or file is in two splits."""

from collections.abc import Collection, Sequence

import numpy as np

from bss.data.joined import first_of_each
from bss.datasets.dataset import Honest, Row
from bss.errors import BssError

FOLDS = 10
"""Folds of new splits; one becomes test, one val."""
SEED = 0
"""Fixed, so that the same rows always get the same splits."""


def honest_rows(rows: list[Row], rule: Honest, files: Sequence[Collection[str]] | None = None) -> tuple[list[Row], int]:
    """Return the rows with honest splits, and the number of rows left out.

    `files` are the files of each row; rows that share one count as one group.
    """
    own = [{("group", row["group"])} for row in rows]
    of_files = [{("file", key) for key in found} for found in files or [()] * len(rows)]
    keys = [group | found for group, found in zip(own, of_files, strict=True)]
    if rule == "new splits":
        return _new_splits(rows, keys), 0
    kept = _without_shared_keys(rows, keys)
    return kept, len(rows) - len(kept)


def _new_splits(rows: list[Row], keys: list[set[tuple[str, str]]]) -> list[Row]:
    """Split all rows again, with whole groups and classes in proportion."""
    from sklearn.model_selection import StratifiedGroupKFold

    labels = np.array([row["label"] for row in rows])
    groups = np.array([rows[first]["group"] for first in first_of_each(keys)])
    folds = min(FOLDS, len(set(groups)))
    if folds < 3:
        raise BssError(f"an honest split needs three groups or more, found {sorted(set(groups.tolist()))}.")
    split = np.full(len(rows), "train", dtype=object)
    parts = StratifiedGroupKFold(folds, shuffle=True, random_state=SEED).split(labels, labels, groups)
    try:
        for name, (_, part) in zip(("test", "val"), parts, strict=False):
            split[part] = name
    except ValueError as error:
        raise BssError(f"an honest split needs {folds} samples of some class, found fewer of each.") from error
    return [row | {"split": str(name)} for row, name in zip(rows, split, strict=True)]


def _without_shared_keys(rows: list[Row], keys: list[set[tuple[str, str]]]) -> list[Row]:
    """Drop rows of train and val that share a group or file with test, and rows of train that share one with val."""
    of: dict[str, set[tuple[str, str]]] = {"train": set(), "val": set(), "test": set()}
    for row, own in zip(rows, keys, strict=True):
        of[row["split"]] |= own
    closed = {"train": of["val"] | of["test"], "val": of["test"], "test": set()}
    return [row for row, own in zip(rows, keys, strict=True) if own.isdisjoint(closed[row["split"]])]
