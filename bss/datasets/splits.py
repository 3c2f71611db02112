"""Honest splits of published datasets: no actor, video or subject in two of them."""

import numpy as np

from bss.datasets.dataset import Honest, Row
from bss.errors import BssError

FOLDS = 10
"""Of the groups split anew; one fold becomes test, one val."""
SEED = 0
"""Fixed: everybody who splits the same rows gets the same splits."""


def honest_rows(rows: list[Row], rule: Honest) -> tuple[list[Row], int]:
    """Return the rows with honest splits, and how many were left out for it."""
    if rule == "groups anew":
        return _groups_anew(rows), 0
    kept = _without_shared_groups(rows)
    return kept, len(rows) - len(kept)


def _groups_anew(rows: list[Row]) -> list[Row]:
    """Split all rows again, whole groups together, classes in proportion."""
    from sklearn.model_selection import StratifiedGroupKFold

    labels = np.array([row["label"] for row in rows])
    groups = np.array([row["group"] for row in rows])
    folds = min(FOLDS, len(set(groups)))
    if folds < 3:
        raise BssError(f"an honest split needs three groups or more, found {sorted(set(groups))}.")
    split = np.full(len(rows), "train", dtype=object)
    parts = StratifiedGroupKFold(folds, shuffle=True, random_state=SEED).split(labels, labels, groups)
    for name, (_, part) in zip(("test", "val"), parts, strict=False):
        split[part] = name
    return [row | {"split": str(name)} for row, name in zip(rows, split, strict=True)]


def _without_shared_groups(rows: list[Row]) -> list[Row]:
    """Leave out what of train and val shares a group with test, and what of train shares one with val."""
    groups = {split: {row["group"] for row in rows if row["split"] == split} for split in ("val", "test")}
    closed = {"train": groups["val"] | groups["test"], "val": groups["test"], "test": set()}
    return [row for row in rows if row["group"] not in closed[row["split"]]]
