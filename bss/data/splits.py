"""Split off val from train, by group, file and class."""

from collections import Counter
from collections.abc import Collection, Sequence

import numpy as np

from bss.data.joined import first_of_each
from bss.data.manifest import Manifest
from bss.errors import BssError

SEED = 0
"""Fixed, so that every seed and scheduler sees the same split."""


def carve_val(manifest: Manifest, share: float, files: Sequence[Collection[str]] | None = None) -> Manifest:
    """Move about `share` of the train samples to val, in whole groups if there are groups.

    `files` are the files of each sample of the manifest: samples that share one stay together. The classes keep their
    proportions as well as the groups allow, and every class stays in train. Raises `BssError` if that is
    impossible.
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    rows = [row for row, sample in enumerate(manifest.samples) if sample.split == "train"]
    train = [manifest.samples[row] for row in rows]
    labels = np.array([sample.label for sample in train])
    groups = [sample.group for sample in train]
    folds = max(2, round(1 / share))
    impossible = f"{manifest.path}: cannot split off val from train"
    fix = "Assign some samples to val in the manifest."
    own = [[] if group is None else [("group", group)] for group in groups]
    first = first_of_each(own if files is None else [[*own[i], *files[row]] for i, row in enumerate(rows)])
    grouped = any(group is not None for group in groups) or bool((first != np.arange(len(train))).any())
    members = np.array([f"row {train[i].row}" if groups[i] is None else f"group {groups[i]}" for i in first])
    if grouped:
        folds = min(folds, len(set(members)))
        if folds < 2:
            raise BssError(f"{impossible}: its groups and shared files form a single group. {fix}")
    # With fewer samples than folds, a class cannot have its share in val; with fewer folds than the share
    # requires, one rare class would move far more of all the others.
    rare = [f"{name!r} has {count}" for name, count in Counter(labels.tolist()).items() if count < folds]
    if rare:
        raise BssError(
            f"{impossible}: prepare.val_share {share} needs {folds} train samples of each class, but "
            f"{', '.join(sorted(rare))}. {fix}"
        )
    if grouped:
        splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=SEED)
        parts = [part for _, part in splitter.split(labels, labels, members)]
    else:
        parts = [part for _, part in StratifiedKFold(folds, shuffle=True, random_state=SEED).split(labels, labels)]
    whole = set(labels)
    fitting = [part for part in parts if len(part) and set(np.delete(labels, part)) == whole]
    if not fitting:
        raise BssError(f"{impossible}: a class would be missing. {fix}")
    chosen = min(fitting, key=lambda part: abs(len(part) / len(train) - share))
    return manifest.with_splits({train[i].id: "val" for i in chosen})
