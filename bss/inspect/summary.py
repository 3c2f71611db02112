"""Counts of a store: classes, splits, groups, sizes, what is known of the pairs."""

import csv
from collections import Counter
from dataclasses import dataclass

from bss.data.decode.altered import describe_altered
from bss.data.store import SPLITS, Store
from bss.errors import BssError

Counts = dict[str, dict[str, int]]


@dataclass(frozen=True)
class GroupsOfSplit:
    """The groups (speakers, actors, videos) of one split."""

    groups: int
    largest: int
    """Samples of the largest group."""
    without: int
    """Samples without a group."""


@dataclass(frozen=True)
class Summary:
    """What a store holds, in numbers."""

    classes: Counts
    """Samples by class and split."""
    modalities: dict[str, list[str]]
    """Modality to kind, shape of a sample, type, sample rate and size of all."""
    groups: dict[str, GroupsOfSplit]
    """By split; empty where no sample has a group."""
    shared_groups: list[str]
    """Groups that are in more than one split."""
    truth: Counts
    """Samples by what is known of the pair and split; empty where nothing is known."""
    skipped: int
    """Samples that could not be decoded."""
    altered: list[str]
    """A line for each modality whose values had to be changed to be stored."""


MODALITY_COLUMNS = ["kind", "shape", "type", "sample rate", "size"]


def summarise_store(store: Store) -> Summary:
    """Return the counts of `store`."""
    splits = store.splits.tolist()
    truth = store.truth()
    known = [] if truth is None else [truth[name] for name in store.ids.tolist()]
    labels = [store.classes[label] for label in store.labels.tolist()]
    return Summary(
        classes=_count(labels, splits, list(store.classes)),
        modalities={name: _describe(store, name) for name in store.modalities},
        groups=_groups(store),
        shared_groups=_shared(store),
        truth=_count(known, splits, sorted(set(known))) if known else {},
        skipped=_skipped(store),
        altered=describe_altered(store.altered),
    )


def _count(values: list[str], splits: list[str], order: list[str]) -> Counts:
    counts = Counter(zip(values, splits, strict=True))
    return {value: {split: counts[value, split] for split in SPLITS} for value in order}


def _describe(store: Store, name: str) -> list[str]:
    modality = store.modalities[name]
    size = (store.path / f"{name}.npy").stat().st_size
    rate = "" if modality.sample_rate is None else f"{modality.sample_rate} Hz"
    return [modality.kind, " x ".join(map(str, modality.shape)), modality.dtype, rate, _readable(size)]


def _readable(size: int) -> str:
    return f"{size / 2**20:.1f} MiB" if size >= 2**20 else f"{size / 2**10:.1f} KiB"


def _groups(store: Store) -> dict[str, GroupsOfSplit]:
    if all(group is None for group in store.groups):
        return {}
    found = {}
    for split in SPLITS:
        members = [store.groups[row] for row in store.rows(split).tolist()]
        counts = Counter(group for group in members if group is not None)
        found[split] = GroupsOfSplit(len(counts), max(counts.values(), default=0), members.count(None))
    return found


def _shared(store: Store) -> list[str]:
    seen: dict[str, set[str]] = {}
    for group, split in zip(store.groups, store.splits.tolist(), strict=True):
        if group is not None:
            seen.setdefault(group, set()).add(split)
    return sorted(group for group, splits in seen.items() if len(splits) > 1)


def _skipped(store: Store) -> int:
    path = store.path / "skipped.csv"
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return sum(1 for _ in csv.DictReader(file))
    except (OSError, ValueError, csv.Error) as error:
        raise BssError(f"{path}: not readable ({error}). Run `bss prepare` again.") from error
