"""Faults planted in a copy of a dataset's manifest: the files stay where they are."""

import csv
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bss.files import write_csv

Row = dict[str, str]


class Fault(NamedTuple):
    """What is wrong with train and val; test stays as it is."""

    kind: str
    """contradicting: a modality, drawn, is that of a sample of another class of the same split; label: another one."""
    share: float
    """Of the samples of each of the two splits."""

    @property
    def name(self) -> str:
        """Return a name for folders and tables."""
        return f"{self.kind}-{round(100 * self.share)}" if self.share else "clean"


FAULTS = (Fault("clean", 0.0), Fault("contradicting", 0.1), Fault("contradicting", 0.4), Fault("label", 0.1))
SEED = 0
"""Of the draw of faults: all trainings see the same ones."""


def plant(root: Path, fault: Fault, modalities: tuple[str, ...], folder: Path) -> None:
    """Write manifest.csv and truth.csv into `folder`, with links to what else `root` has; `modalities` are columns."""
    folder.mkdir(parents=True)
    for path in root.iterdir():
        if path.name not in ("manifest.csv", "truth.csv"):
            (folder / path.name).symlink_to(path.resolve())
    with (root / "manifest.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    changed, truth = with_fault(rows, fault, modalities)
    write_csv(folder / "manifest.csv", changed)
    write_csv(folder / "truth.csv", truth)


def with_fault(rows: list[Row], fault: Fault, modalities: tuple[str, ...]) -> tuple[list[Row], list[Row]]:
    """Return the rows of a manifest with the fault, and those of truth.csv."""
    random = np.random.default_rng(SEED)
    changed = [dict(row) for row in rows]
    truth = [{"id": row["id"], "kind": "clean", "modality": "", "other_label": ""} for row in rows]
    classes = sorted({row["label"] for row in rows})
    for split in ("train", "val"):
        members = [number for number, row in enumerate(rows) if row["split"] == split]
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
