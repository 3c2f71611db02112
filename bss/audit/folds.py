"""Folds: which samples are predicted together, by a network that has seen none of them or of their groups."""

import warnings
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from bss.data.joined import first_of_each
from bss.errors import BssError

Ints = npt.NDArray[np.int64]

ANY = -1
"""Fold of a sample that no network trains on."""


def connected(groups: Sequence[str | None], partners: Ints) -> Ints:
    """Return for each of n samples the first one of its component, int64 [n].

    Samples of a group are connected, and duplicates: `partners` int64 [n] is the position of a sample's duplicate, or
    -1. A network that has seen the copy of a sample agrees with any label.
    """
    keys: list[list[object]] = [[] if group is None else [("group", group)] for group in groups]
    for position, partner in enumerate(partners.tolist()):
        if partner >= 0:
            pair = ("pair", *sorted((position, partner)))
            keys[position].append(pair)
            keys[partner].append(pair)
    return first_of_each(keys)


def independent(groups: Sequence[str | None], partners: Ints, trained: npt.NDArray[np.bool_], folds: int) -> Ints:
    """Return the components to divide into `folds`, as `connected` does, int64 [n].

    If duplicates join the groups of the samples `trained` bool [n] into fewer than that, the components are the groups
    alone: then networks leave out the copies of what they predict.
    """
    components = connected(groups, partners)
    if len(np.unique(components[trained])) >= folds:
        return components
    return connected(groups, np.full(len(partners), -1))


def assign_folds(labels: Ints, components: Ints, trained: npt.NDArray[np.bool_], folds: int, seed: int) -> Ints:
    """Return the fold of each of n samples, int64 [n], stratified by label as well as the components allow.

    A component is never split. Samples outside of `trained` bool [n] get the fold of their component if others of it
    are trained on, and `ANY` if not. Raises `BssError` if there are fewer components than folds.
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    where = np.flatnonzero(trained)
    names = components[where]
    count = len(np.unique(names))
    if count < folds:
        raise BssError(
            f"params.yaml: audit.folds: {folds}, but train and val are {count} independent parts (groups, or "
            "duplicates of each other), which are never split. Set it to at most that."
        )
    grouped = count < len(where)
    splitter = (StratifiedGroupKFold if grouped else StratifiedKFold)(folds, shuffle=True, random_state=seed)
    fold = np.full(len(labels), ANY, dtype=np.int64)
    with warnings.catch_warnings():  # about classes with fewer samples than folds, which `can_judge` answers
        warnings.simplefilter("ignore", UserWarning)
        try:
            parts = [part for _, part in splitter.split(names, labels[where], names)]
        except ValueError as error:
            raise BssError(f"params.yaml: audit.folds: {folds}, but {error}. Lower it.") from error
    of_component: dict[int, int] = {}
    for number, part in enumerate(parts):
        fold[where[part]] = number
        of_component |= dict.fromkeys(names[part].tolist(), number)
    others = np.flatnonzero(~trained)
    fold[others] = [of_component.get(name, ANY) for name in components[others].tolist()]
    return fold


def judged_by(fold: Ints, labels: Ints, trained: npt.NDArray[np.bool_], copies: Ints, number: int) -> tuple[Ints, Ints]:
    """Return the samples that network `number` trains on and predicts, as positions int64 [k] and [m].

    It predicts its own fold and the samples of no fold. It skips samples whose class is absent from its training folds,
    and trains on the remaining samples minus copies of those it predicts: samples with the same value in `copies`
    int64 [n].
    """
    own = (fold == number) | (fold == ANY)
    trains = np.flatnonzero(trained & (fold != number) & ~np.isin(copies, copies[own]))
    seen = np.isin(labels, np.unique(labels[trains]))
    return trains, np.flatnonzero(seen & own)
