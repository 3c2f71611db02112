"""Decisions from an audit: what it is sure enough of, written for `bss prepare`."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bss.audit.results import TABLE, read_results
from bss.config import Config
from bss.console import make_console
from bss.data.decisions import FILE, decided_rows, write_decisions
from bss.data.store import SPLITS, Store
from bss.files import read_json

Row = Mapping[str, Any]


def apply_audit(config: Config, store: Path, folder: Path, above: float) -> None:
    """Write decisions for the samples of train and val that are wrong with a probability above `above`.

    The file is prepare.decisions, or decisions.csv in prepare.root; decisions that it has stay, and their samples get
    no other. Test is left as it is. Raises `BssError` if the audit is of another store.
    """
    data = Store.open(store)
    _, table = read_results(folder, data)
    path = Path(config.prepare.root) / (config.prepare.decisions or FILE)
    dataset = read_json(store / "provenance.json", "prepare", {"inputs": dict})["inputs"]["manifest"]
    kept = decided_rows(path, dataset) if path.is_file() else []
    known = {name for name, _, _ in kept}
    made = [d for d in decide(table.arrow.to_pylist(), above) if d[0] not in known]
    write_decisions(path, [*kept, *made], dataset)
    console = make_console()
    counts = Counter(kind for _, kind, _ in made)
    what = ", ".join(f"{counts[kind]} {kind}" for kind in ("drop", "relabel", "ignore") if counts[kind]) or "none"
    console.print(
        f"audit: {path}: {what}, from {folder / TABLE} above {above:g}; {len(kept)} earlier decisions kept",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
    if config.prepare.decisions is None:
        console.print(f"To use them, set prepare.decisions: {FILE} and run `dvc repro`.", highlight=False)


def decide(rows: list[Row], above: float) -> list[tuple[str, str, str]]:
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
