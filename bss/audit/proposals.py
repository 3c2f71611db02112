"""What an audit proposes for single samples."""

from collections.abc import Mapping, Sequence
from typing import Any

from bss.data.store import SPLITS

Row = Mapping[str, Any]
CONTRADICTION = "p_contradiction_"
"""Start of the columns with the probability that a modality contradicts."""


def decide(rows: Sequence[Row], above: float) -> list[tuple[str, str, str]]:
    """Return id, kind and value of a decision for each of `rows` (of audit.parquet) that is surely enough wrong.

    - A copy, or nearly, is dropped, unless the other one gives way to it: train gives way to val and both to test, and
      in one split the greater id to the smaller.
    - Something is wrong with a probability above `above`: what `_cure` says.

    Samples of test are left as they are.
    """
    splits = {row["id"]: row["split"] for row in rows}
    found = []
    for row in rows:
        if row["split"] == "test":
            continue
        if row["duplicate_of"] is not None and _gives_way(row, splits):
            found.append((row["id"], "drop", ""))
        elif row["probability"] is not None and row["probability"] > above:
            found.append((row["id"], *_cure(row, above)))
    return sorted(found)


def _cure(row: Row, above: float) -> tuple[str, str]:
    """Return kind and value of the decision about a sample that is surely wrong.

    It rests on one explanation, so that one must itself be more probable than `above`:

    - The label is wrong, and the class that the modalities suggest is as sure: the sample gets it.
    - One modality contradicts or is empty: it is ignored.
    - Otherwise it is unclear what is wrong, or what would be right: the sample is dropped.
    """
    of_modality = _at_fault(row)
    worst = max(of_modality, key=of_modality.__getitem__)
    if of_modality[worst] > max(above, row["p_label"]):
        return "ignore", worst
    if row["p_label"] > above and row["suggested"] is not None and row["suggested_confidence"] > above:
        return "relabel", row["suggested"]
    return "drop", ""


def _at_fault(row: Row) -> dict[str, float]:
    """Return for each modality the probability that it contradicts or is empty."""
    names = [column.removeprefix(CONTRADICTION) for column in row if column.startswith(CONTRADICTION)]
    return {name: row[f"{CONTRADICTION}{name}"] + row.get(f"p_empty_{name}", 0.0) for name in names}


def _gives_way(row: Row, splits: Mapping[str, str]) -> bool:
    """Return whether a duplicate is the one to drop; a partner that was not audited is of test, or stays as it is."""
    partner = row["duplicate_of"]
    own, other = SPLITS.index(row["split"]), SPLITS.index(splits.get(partner, "test"))
    return own < other or (own == other and bool(partner < row["id"]))
