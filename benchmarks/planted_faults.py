"""Faults planted in a copy of a dataset's manifest: the files stay where they are, and altered ones go beside them."""

import csv
from pathlib import Path, PurePosixPath
from typing import NamedTuple, cast

import numpy as np

from benchmarks.altered_files import Alteration, write_altered
from bss.files import require_new, whole_folder, write_csv

Row = dict[str, str]


class Fault(NamedTuple):
    """What is wrong with train and val; test stays as it is."""

    kind: str
    """contradicting: a modality, drawn, is that of a sample of another class of the same split; label: another one;
    silenced, noise: a modality, drawn, carries nothing; duplicate: a sample of val is a copy of one of train."""
    share: float
    """Of the samples of each of the two splits; of val for duplicates."""

    @property
    def name(self) -> str:
        """Return a name for folders and tables."""
        return f"{self.kind}-{round(100 * self.share)}" if self.share else "clean"


class Altered(NamedTuple):
    """A file to write."""

    source: str
    """Of which it is an altered copy, a path in the manifest."""
    name: str
    """Its own path in the manifest."""


FAULTS = (Fault("clean", 0.0), Fault("contradicting", 0.1), Fault("contradicting", 0.4), Fault("label", 0.1))
SEED = 0
"""Of the draw of faults: all trials see the same ones."""
ALTERED = "altered"
"""Folder of the files that are written."""
OF_FILES = ("silenced", "noise", "duplicate")
"""Kinds of faults that alter files."""


def plant(root: Path, fault: Fault, modalities: tuple[str, ...], folder: Path, groups: bool = True) -> None:
    """Write manifest.csv and truth.csv into `folder`, with links to what else `root` has; `modalities` are columns.

    Without `groups` the manifest has no column group. An interruption leaves no `folder`.
    """
    require_new(folder)
    with (root / "manifest.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if not groups:
        rows = [{key: value for key, value in row.items() if key != "group"} for row in rows]
    files: list[Altered] = []
    if fault.kind in OF_FILES:
        changed, truth, files = with_altered_files(rows, fault, modalities)
    else:
        changed, truth = with_fault(rows, fault, modalities)
    with whole_folder(folder) as unfinished:
        for path in root.iterdir():
            if path.name not in ("manifest.csv", "truth.csv"):
                (unfinished / path.name).symlink_to(path.resolve())
        for number, (source, name) in enumerate(files):
            target = unfinished / name
            target.parent.mkdir(exist_ok=True)
            write_altered(root / source, target, cast(Alteration, fault.kind), np.random.default_rng([SEED, number]))
        write_csv(unfinished / "manifest.csv", changed)
        write_csv(unfinished / "truth.csv", truth)


def with_fault(rows: list[Row], fault: Fault, modalities: tuple[str, ...]) -> tuple[list[Row], list[Row]]:
    """Return the rows of a manifest with a fault of no file, and those of truth.csv."""
    random = np.random.default_rng(SEED)
    changed, truth = _unchanged(rows)
    classes = sorted({row["label"] for row in rows})
    for split in ("train", "val"):
        members = _members(rows, split)
        for number in random.permutation(members)[: round(fault.share * len(members))].tolist():
            label = rows[number]["label"]
            if fault.kind == "label":
                other = str(random.choice([name for name in classes if name != label]))
                changed[number]["label"], modality = other, ""
            else:
                modality = str(random.choice(modalities))
                donor = rows[int(random.choice([n for n in members if rows[n]["label"] != label]))]
                changed[number][modality], other = donor[modality], donor["label"]
            truth[number] |= {"kind": fault.kind, "modality": modality, "other_label": other}
    return changed, truth


def with_altered_files(
    rows: list[Row], fault: Fault, modalities: tuple[str, ...]
) -> tuple[list[Row], list[Row], list[Altered]]:
    """Return the rows of a manifest with a fault of `OF_FILES`, those of truth.csv, and the files to write.

    Of duplicates both are faulty, the copy in val and the sample of train that it is of; no two copies are of the same.
    """
    random = np.random.default_rng(SEED)
    changed, truth = _unchanged(rows)
    files: list[Altered] = []

    def alter(number: int, source: Row, modality: str) -> None:
        name = f"{ALTERED}/{rows[number]['id']}-{modality}{PurePosixPath(source[modality]).suffix}"
        changed[number][modality] = name
        files.append(Altered(source[modality], name))

    if fault.kind == "duplicate":
        val = random.permutation(_members(rows, "val"))
        copies = val[: round(fault.share * len(val))].tolist()
        sources = random.permutation(_members(rows, "train"))[: len(copies)].tolist()
        for number, source in zip(copies, sources, strict=True):
            changed[number]["label"] = rows[source]["label"]
            for modality in modalities:
                alter(number, rows[source], modality)
            for one in (number, source):
                truth[one]["kind"] = fault.kind
        return changed, truth, files
    for split in ("train", "val"):
        members = _members(rows, split)
        for number in random.permutation(members)[: round(fault.share * len(members))].tolist():
            modality = str(random.choice(modalities))
            alter(number, rows[number], modality)
            truth[number] |= {"kind": fault.kind, "modality": modality}
    return changed, truth, files


def _unchanged(rows: list[Row]) -> tuple[list[Row], list[Row]]:
    truth = [{"id": row["id"], "kind": "clean", "modality": "", "other_label": ""} for row in rows]
    return [dict(row) for row in rows], truth


def _members(rows: list[Row], split: str) -> list[int]:
    return [number for number, row in enumerate(rows) if row["split"] == split]
