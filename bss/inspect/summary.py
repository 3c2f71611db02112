"""Counts of a store: classes, splits, groups, sizes, ground truth."""

import csv
from collections import Counter
from dataclasses import dataclass

from bss.data.decode.altered import describe_altered
from bss.data.store import SPLITS, Store
from bss.data.tables import open_table
from bss.data.text_lengths import cut_note, lengths_column
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
    """A store in numbers."""

    classes: Counts
    """Samples by class and split."""
    modalities: dict[str, list[str]]
    """Maps each modality to kind, shape of a sample, dtype, sample rate and total size."""
    groups: dict[str, GroupsOfSplit]
    """Groups by split; empty if no sample has a group."""
    shared_groups: list[str]
    """Groups that are in more than one split."""
    truth: Counts
    """Samples by ground truth and split; empty without ground truth."""
    skipped: int
    """Samples that could not be decoded."""
    altered: list[str]
    """A line for each modality whose values were altered to fit the store."""
    cut: list[str]
    """A line for each text modality with truncated texts."""


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
        cut=_cut(store),
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


def text_lengths(store: Store) -> dict[str, list[int]]:
    """Return the length of each sample's full text in tokens, in the store's order, by text modality."""
    columns = {name: lengths_column(name) for name, modality in store.modalities.items() if modality.kind == "text"}
    if not columns:
        return {}
    table = open_table(store.path / "samples.parquet", "prepare", tuple(columns.values()))
    return {name: table.whole_numbers(column).tolist() for name, column in columns.items()}


def _cut(store: Store) -> list[str]:
    lengths = text_lengths(store)
    notes = {name: cut_note(of, store.modalities[name].shape[0]) for name, of in lengths.items()}
    return [f"{name}: {note}" for name, note in notes.items() if note]


def _skipped(store: Store) -> int:
    path = store.path / "skipped.csv"
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return sum(1 for _ in csv.DictReader(file))
    except (OSError, ValueError, csv.Error) as error:
        raise BssError(f"{path}: not readable ({error}). Run `bss prepare` again.") from error
