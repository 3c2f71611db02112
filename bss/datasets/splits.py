"""Honest splits of published datasets: no actor, video, subject or file in two of them."""

from collections.abc import Collection, Sequence

import numpy as np

from bss.data.joined import first_of_each
from bss.datasets.dataset import Honest, Row
from bss.errors import BssError

FOLDS = 10
"""Of the groups split anew; one fold becomes test, one val."""
SEED = 0
"""Fixed: everybody who splits the same rows gets the same splits."""


def honest_rows(rows: list[Row], rule: Honest, files: Sequence[Collection[str]] | None = None) -> tuple[list[Row], int]:
    """Return the rows with honest splits, and how many were left out for it.

    `files` are those of each row; rows that share one are as of one group.
    """
    own = [{("group", row["group"])} for row in rows]
    of_files = [{("file", key) for key in found} for found in files or [()] * len(rows)]
    keys = [group | found for group, found in zip(own, of_files, strict=True)]
    if rule == "groups anew":
        return _groups_anew(rows, keys), 0
    kept = _without_shared_keys(rows, keys)
    return kept, len(rows) - len(kept)


def _groups_anew(rows: list[Row], keys: list[set[tuple[str, str]]]) -> list[Row]:
    """Split all rows again, whole groups together, classes in proportion."""
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
    """Leave out what of train and val shares a group or file with test, and what of train shares one with val."""
    of: dict[str, set[tuple[str, str]]] = {"train": set(), "val": set(), "test": set()}
    for row, own in zip(rows, keys, strict=True):
        of[row["split"]] |= own
    closed = {"train": of["val"] | of["test"], "val": of["test"], "test": set()}
    return [row for row, own in zip(rows, keys, strict=True) if own.isdisjoint(closed[row["split"]])]
