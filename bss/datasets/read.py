"""Read a published dataset as a manifest."""

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bss.config.modalities import ModalityKind
from bss.config.schema import Links
from bss.data.manifest import Manifest, check_rows
from bss.data.same_files import Keys, file_keys, file_modalities, keys_of
from bss.data.store import SPLITS
from bss.datasets.dataset import Row
from bss.datasets.find import find_dataset
from bss.datasets.splits import honest_rows
from bss.errors import BssError


@dataclass(frozen=True)
class Source:
    """The content of a dataset's own files."""

    manifest: Manifest
    rows: list[Row]
    notes: list[str]
    """Notes for the user: counts that differ from the published ones, samples left out."""
    keys: Keys
    """Which paths name the same file."""


def read_source(
    name: str,
    root: Path,
    protocol: str,
    modalities: Mapping[str, ModalityKind],
    on_bad: Literal["error", "skip"] = "error",
    may_share: Sequence[str] = (),
    links: Links = "inside",
) -> Source:
    """Read the dataset `name` in `root` and split it according to `protocol` (honest or published).

    `may_share` are files that several splits may share. Raises `BssError` if the layout is not as
    published. Sample files need not exist; they are compared with each other and not decoded.
    """
    dataset = find_dataset(name, "params.yaml: prepare.source")
    read = dataset.read_published if protocol == "published" else None
    published = (read or dataset.read)(root)
    notes = count_notes(published, dataset.counts)
    of_files = [name for name in file_modalities(modalities) if published and name in published[0]]
    keys = file_keys(root, (row[name] for row in published for name in of_files), may_share, links)
    rows, left_out = published, 0
    if protocol != "published":
        rows, left_out = honest_rows(published, dataset.honest, [keys_of(row, of_files, keys) for row in published])
    if left_out:
        notes.append(
            f"{left_out} samples left out, because another split has their {dataset.group} or a file (protocol honest)"
        )
    emptied = {row["split"] for row in published} - {row["split"] for row in rows}
    if emptied:
        raise BssError(
            f"{root} ({dataset.title}): protocol honest leaves no sample in {' and '.join(sorted(emptied))}: each has "
            f"a file or the {dataset.group} of another split. If a file is a placeholder for many, list it in "
            "prepare.shared_files; protocol: published keeps all samples."
        )
    columns = list(dict.fromkeys(column for row in rows for column in row))
    numbered = [(number, dict.fromkeys(columns, "") | row) for number, row in enumerate(rows, 1)]
    manifest = check_rows(Path(f"{root} ({dataset.title})"), columns, numbered, modalities, on_bad)
    return Source(manifest, rows, notes, keys)


def count_notes(rows: list[Row], published: dict[str, int]) -> list[str]:
    """Return a line if the annotations' sample counts differ from the published ones."""
    found = Counter(row["split"] for row in rows)
    if not published or found == published:
        return []
    parts = [f"{split} {found[split]:,} of {published[split]:,}" for split in SPLITS if published.get(split)]
    return [f"samples in the annotations versus published: {', '.join(parts)}"]


def write_rows(path: Path, rows: list[Row], manifest: Manifest) -> None:
    """Write the rows, with the splits of `manifest`, as a manifest.csv suitable for `prepare.manifest`."""
    splits = {sample.row: sample.split for sample in manifest.samples}
    columns = list(dict.fromkeys(column for row in rows for column in row))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(row | {"split": splits.get(number, row["split"])} for number, row in enumerate(rows, 1))
