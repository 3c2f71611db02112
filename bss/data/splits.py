"""Carving a val split out of train, by group and class."""

import numpy as np

from bss.data.manifest import Manifest
from bss.errors import BssError

SEED = 0
"""Fixed: every training seed, and every scheduler, sees the same split."""


def carve_val(manifest: Manifest, share: float) -> Manifest:
    """Move about `share` of the train samples to val, whole groups where there are groups.

    The classes keep their proportions as well as the groups allow, and every class stays in train. Raises
    `BssError` where that cannot be done.
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    train = [sample for sample in manifest.samples if sample.split == "train"]
    labels = np.array([sample.label for sample in train])
    groups = [sample.group for sample in train]
    folds = max(2, round(1 / share))
    cure = "Mark some samples with the split val in the manifest."
    names, counts = np.unique(labels, return_counts=True)
    rare = [f"{name!r} ({count})" for name, count in zip(names, counts, strict=True) if count < 2]
    if rare:
        raise BssError(f"{manifest.path}: no val can be taken from train: only one sample of {', '.join(rare)}. {cure}")
    if any(group is not None for group in groups):
        members = np.array(
            [f"group {g}" if g is not None else f"row {s.row}" for g, s in zip(groups, train, strict=True)]
        )
        folds = min(folds, len(set(members)))
        if folds < 2:
            raise BssError(f"{manifest.path}: no val can be taken from train: it has one group only. {cure}")
        splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=SEED)
        parts = [part for _, part in splitter.split(labels, labels, members)]
    else:
        folds = min(folds, int(counts.min()))
        parts = [part for _, part in StratifiedKFold(folds, shuffle=True, random_state=SEED).split(labels, labels)]
    whole = set(labels)
    fitting = [part for part in parts if len(part) and set(np.delete(labels, part)) == whole]
    if not fitting:
        raise BssError(f"{manifest.path}: no val can be taken from train: a class would be missing. {cure}")
    chosen = min(fitting, key=lambda part: abs(len(part) / len(train) - share))
    return manifest.with_splits({train[i].id: "val" for i in chosen})
