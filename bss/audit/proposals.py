"""What an audit proposes for single samples."""

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from bss.audit.folds import connected
from bss.data.store import SPLITS

Row = Mapping[str, Any]
CONTRADICTION = "p_contradiction_"
"""Start of the columns with the probability that a modality contradicts."""


def decide(
    rows: Sequence[Row], above: float, decided: Mapping[str, str] = MappingProxyType({})
) -> list[tuple[str, str, str]]:
    """Return id, kind and value of a decision for each of `rows` (of audit.parquet) that is surely enough wrong.

    - Something is wrong with a probability above `above`: what `_remedy` says.
    - Of samples that are copies of each other, or nearly, one stays: train gives way to val and both to test, and in
      one split the greater ids to the least one. What is dropped by a decision, here or in `decided`, is no copy.

    `decided` has the kinds of earlier decisions by id: they stand. Samples of test are left as they are.
    """
    remedies = {
        row["id"]: _remedy(row, above)
        for row in rows
        if row["split"] != "test" and row["id"] not in decided and (row["probability"] or 0.0) > above
    }
    dropped = {name for name, kind in decided.items() if kind == "drop"}
    dropped |= {name for name, (kind, _) in remedies.items() if kind == "drop"}
    remedies |= dict.fromkeys(_superfluous(rows, dropped, decided.keys() - dropped), ("drop", ""))
    return sorted((name, kind, value) for name, (kind, value) in remedies.items())


def _superfluous(rows: Sequence[Row], dropped: Collection[str], staying: Collection[str]) -> list[str]:
    """Return the ids of copies that give way to another one; none of the `dropped`, the `staying` or test is."""
    splits = {row["duplicate_of"]: "test" for row in rows if row["duplicate_of"] is not None}  # if it was not audited
    splits |= {row["id"]: row["split"] for row in rows}
    names = list(splits)
    position = {name: number for number, name in enumerate(names)}
    partners = np.full(len(names), -1)
    for row in rows:
        if row["duplicate_of"] is not None:
            partners[position[row["id"]]] = position[row["duplicate_of"]]
    left: dict[int, list[str]] = {}
    for name, component in zip(names, connected([None] * len(names), partners).tolist(), strict=True):
        if name not in dropped:
            left.setdefault(component, []).append(name)
    found = []
    for copies in left.values():
        free = [name for name in copies if splits[name] != "test" and name not in staying]
        free.sort(key=lambda name: (-SPLITS.index(splits[name]), name))
        found += free if len(free) < len(copies) else free[1:]
    return found


def _remedy(row: Row, above: float) -> tuple[str, str]:
    """Return kind and value of the decision about a sample that is surely wrong.

    It rests on one explanation, whose share of the probability that something is wrong must be above `above`:

    - The label is wrong, and the class that the modalities suggest is as sure: the sample gets it.
    - One modality contradicts or is empty: it is ignored.
    - Otherwise it is unclear what is wrong, or what would be right: the sample is dropped.
    """
    of_modality, least = _at_fault(row), above * row["probability"]
    worst = max(of_modality, key=of_modality.__getitem__)
    if of_modality[worst] > max(least, row["p_label"]):
        return "ignore", worst
    if row["p_label"] > least and row["suggested"] is not None and row["suggested_confidence"] > above:
        return "relabel", row["suggested"]
    return "drop", ""


def _at_fault(row: Row) -> dict[str, float]:
    """Return for each modality the probability that it contradicts or is empty."""
    names = [column.removeprefix(CONTRADICTION) for column in row if column.startswith(CONTRADICTION)]
    return {name: row[f"{CONTRADICTION}{name}"] + row.get(f"p_empty_{name}", 0.0) for name in names}
