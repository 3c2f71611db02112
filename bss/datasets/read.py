"""A published dataset as a manifest."""

import csv
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bss.config.modalities import ModalityKind
from bss.data.manifest import Manifest, check_rows
from bss.data.store import SPLITS
from bss.datasets.dataset import Row
from bss.datasets.find import find_dataset
from bss.datasets.splits import honest_rows


@dataclass(frozen=True)
class Source:
    """What a dataset's own files tell."""

    manifest: Manifest
    rows: list[Row]
    notes: list[str]
    """What a user should know: counts that are not as published, samples left out."""


def read_source(name: str, root: Path, protocol: str, modalities: Mapping[str, ModalityKind]) -> Source:
    """Read the dataset `name` in `root` and split it as `protocol` (honest or published) wants.

    Raises `BssError` for a layout that is not as published; files of samples are not opened.
    """
    dataset = find_dataset(name, "params.yaml: prepare.source")
    read = dataset.read_published if protocol == "published" else None
    published = (read or dataset.read)(root)
    notes = count_notes(published, dataset.counts)
    rows, left_out = (published, 0) if protocol == "published" else honest_rows(published, dataset.honest)
    if left_out:
        notes.append(f"{left_out} samples left out, whose {dataset.group} another split has (protocol honest)")
    columns = list(dict.fromkeys(column for row in rows for column in row))
    numbered = [(number, dict.fromkeys(columns, "") | row) for number, row in enumerate(rows, 1)]
    manifest = check_rows(Path(f"{root} ({dataset.title})"), columns, numbered, modalities)
    return Source(manifest, rows, notes)


def count_notes(rows: list[Row], published: dict[str, int]) -> list[str]:
    """Return a line where the annotations have other numbers of samples than the published ones."""
    found = Counter(row["split"] for row in rows)
    if not published or found == published:
        return []
    parts = [f"{split} {found[split]:,} of {published[split]:,}" for split in SPLITS if published.get(split)]
    return [f"samples in the annotations, of the published number: {', '.join(parts)}"]


def write_rows(path: Path, rows: list[Row], manifest: Manifest) -> None:
    """Write the rows with the splits of `manifest` as a manifest.csv that `prepare.manifest` could name."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(row | {"split": s.split} for row, s in zip(rows, manifest.samples, strict=True))
