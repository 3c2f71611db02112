"""Carving a val split out of train, by group and class."""

from collections import Counter

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
    impossible = f"{manifest.path}: no val can be taken from train"
    cure = "Mark some samples with the split val in the manifest."
    grouped = any(group is not None for group in groups)
    members = np.array([f"group {g}" if g is not None else f"row {s.row}" for g, s in zip(groups, train, strict=True)])
    if grouped:
        folds = min(folds, len(set(members)))
        if folds < 2:
            raise BssError(f"{impossible}: it has one group only. {cure}")
    # With fewer samples than folds a class could not have its share in val; with fewer folds than the share
    # asks for, one rare class would move far more of all the others.
    rare = [f"{name!r} has {count}" for name, count in Counter(labels.tolist()).items() if count < folds]
    if rare:
        raise BssError(
            f"{impossible}: prepare.val_share {share} needs {folds} train samples of each class, but "
            f"{', '.join(sorted(rare))}. {cure}"
        )
    if grouped:
        splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=SEED)
        parts = [part for _, part in splitter.split(labels, labels, members)]
    else:
        parts = [part for _, part in StratifiedKFold(folds, shuffle=True, random_state=SEED).split(labels, labels)]
    whole = set(labels)
    fitting = [part for part in parts if len(part) and set(np.delete(labels, part)) == whole]
    if not fitting:
        raise BssError(f"{impossible}: a class would be missing. {cure}")
    chosen = min(fitting, key=lambda part: abs(len(part) / len(train) - share))
    return manifest.with_splits({train[i].id: "val" for i in chosen})
