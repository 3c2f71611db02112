"""What an audit proposes for single samples."""

from collections.abc import Mapping, Sequence
from typing import Any

from bss.data.store import SPLITS

Row = Mapping[str, Any]


def decide(rows: Sequence[Row], above: float) -> list[tuple[str, str, str]]:
    """Return id, kind and value of a decision for each of `rows` (of audit.parquet) that is surely enough wrong.

    - One modality contradicts or is empty: it is ignored.
    - The label is wrong: it becomes the class that the modalities suggest; if that is less sure, the sample is dropped.
    - A copy, or nearly, is dropped, unless the other one gives way to it: train gives way to val and both to test, and
      in one split the greater id to the smaller.

    Samples of test are left as they are.
    """
    splits = {row["id"]: row["split"] for row in rows}
    found = []
    for row in rows:
        sure = row["probability"] is not None and row["probability"] > above
        if row["split"] == "test":
            continue
        if row["duplicate_of"] is not None and _gives_way(row, splits):
            found.append((row["id"], "drop", ""))
        elif sure and row["kind"] == "label":
            relabel = row["suggested_confidence"] > above
            found.append((row["id"], "relabel", row["suggested"]) if relabel else (row["id"], "drop", ""))
        elif sure and row["blame"] is not None:
            found.append((row["id"], "ignore", row["blame"]))
    return sorted(found)


def _gives_way(row: Row, splits: Mapping[str, str]) -> bool:
    """Return whether a duplicate is the one to drop; a partner that was not audited is of test, or stays as it is."""
    partner = row["duplicate_of"]
    own, other = SPLITS.index(row["split"]), SPLITS.index(splits.get(partner, "test"))
    return own < other or (own == other and bool(partner < row["id"]))
