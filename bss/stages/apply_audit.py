"""Decisions from an audit that are certain enough, written for `bss prepare`."""

from collections import Counter
from pathlib import Path

from bss.audit.proposals import decide
from bss.audit.results import TABLE, read_verdicts
from bss.config import Config
from bss.console import make_console
from bss.data.decisions import FILE, Decision, Known, checked_decisions, dataset_of, prepared_with, write_decisions
from bss.data.read_csv import read_csv
from bss.data.store import Store
from bss.stages.raw_root import edited


def apply_audit(config: Config, store: Path, folder: Path, above: float) -> None:
    """Write decisions for the samples of train and val that are wrong with a probability above `above`.

    The file is prepare.decisions, or decisions.csv in prepare.root. Decisions that it has stay: their samples get no
    other, and a copy of one that they drop may stay. Those of an earlier call are replaced, unless somebody changed
    them or the store was prepared with them. Test is left as it is. Raises `BssError`
    if the audit is of another store, or the file has rows that `bss prepare` would refuse; nothing is written then.
    """
    data = Store.open(store)
    rows = read_verdicts(folder, data)
    root, name = config.prepare.root.rstrip("/"), config.prepare.decisions or FILE
    dataset = dataset_of(store)
    applied = {(row["id"], row["decision"], row["value"]) for row in prepared_with(store)}
    with edited(root, name) as path:
        earlier = _earlier(config, data, path, dataset) if path.is_file() else []
        own = [(d.id, d.kind, d.value) for d in earlier if not d.automatic]
        automatic = [(d.id, d.kind, d.value) for d in earlier if d.automatic]
        standing = [decision for decision in automatic if decision in applied]
        made = decide(rows, above, {of: kind for of, kind, _ in [*own, *standing]})
        write_decisions(path, own, dataset, [*standing, *made])
    console = make_console()
    counts = Counter(kind for _, kind, _ in made)
    what = ", ".join(f"{counts[kind]} {kind}" for kind in ("drop", "relabel", "ignore") if counts[kind]) or "none"
    kept, replaced = len(own) + len(standing), len(automatic) - len(standing)
    before = f"{kept} earlier decisions kept" + (f", {replaced} of an earlier --apply replaced" if replaced else "")
    console.print(
        f"audit: {root}/{name}: {what}, from {folder / TABLE} above {above:g}; {before}",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
    if config.prepare.decisions is None:
        console.print(f"To use them, set prepare.decisions: {FILE} and run `dvc repro`.", highlight=False)


def _earlier(config: Config, data: Store, path: Path, dataset: str) -> list[Decision]:
    """Return the decisions of the file at `path`, checked against the samples that `data` was prepared from."""
    _, skipped = read_csv(data.path / "skipped.csv")
    known = {row["id"]: Known("train", None) for _, row in skipped}
    labels = (data.classes[number] for number in data.labels)
    known |= {of: Known(*rest) for of, *rest in zip(data.ids, data.splits.tolist(), labels, strict=True)}
    known |= {row["id"]: Known(row["split"], row["label"]) for row in prepared_with(data.path)}  # also the dropped ones
    classes = {*data.classes, *(sample.label for sample in known.values() if sample.label is not None)}
    return checked_decisions(path, dataset, known, sorted(classes), list(data.modalities), config.prepare.decide_test)
