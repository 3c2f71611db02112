"""The files of an audit, audit.csv, audit.parquet and audit.json, and what the terminal shows of them."""

import csv
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from bss.audit.duplicates import Duplicates
from bss.audit.folds import Ints
from bss.audit.verdicts import Floats, Verdicts
from bss.balance.auditing import Explanation, share
from bss.config import Config, config_to_tree
from bss.data.store import SPLITS, Store
from bss.data.tables import Table as StoredTable
from bss.data.tables import open_table, write_table
from bss.deciding import DECIDING, pick
from bss.errors import BssError
from bss.files import digest_file, read_json, whole_file, write_json
from bss.models.pretrained import digest_weights
from bss.provenance import provenance

TABLE, ROWS, SUMMARY = "audit.parquet", "audit.csv", "audit.json"
UNKNOWN = "unknown"
"""Kind of a sample whose class is in no other fold: no network can judge it."""
SHOWN = 15
"""Samples in the terminal."""
MEANING = {
    "contradiction": "one modality shows another class",
    "label": "the modalities agree, and the label names another class",
    "empty": "one modality carries nothing",
    "duplicate": "all modalities are a copy, or nearly",
    UNKNOWN: "its class is in one fold alone",
}


def write_results(
    config: Config,
    store: Store,
    rows: Ints,
    verdicts: Verdicts,
    facts: Mapping[str, Mapping[str, Floats]],
    duplicates: Duplicates,
    folder: Path,
    console: Console,
) -> None:
    """Write the files about the samples at `rows` [n] of the store, which all but `duplicates` are about."""
    columns = _columns(store, rows, verdicts, facts, duplicates)
    order = np.argsort(-np.nan_to_num(verdicts.log_odds, nan=-np.inf), kind="stable")
    columns = {name: [values[i] for i in order.tolist()] for name, values in columns.items()}
    with whole_file(folder / TABLE) as file:
        write_table(file, columns)
    with whole_file(folder / ROWS) as file:
        _write_csv(file, columns)
    summary = _summary(config, store, rows, verdicts, columns)
    summary["table"] = digest_file(folder / TABLE)  # a reader can tell whether both are of one audit
    with whole_file(folder / SUMMARY) as file:
        write_json(file, summary)
    _print(console, summary, columns)
    console.print(f"audit: {folder / ROWS}", highlight=False, soft_wrap=True)


def read_results(folder: Path, store: Store) -> tuple[dict[str, Any], StoredTable]:
    """Return audit.json and the table of an audit of `store`; raise `BssError` if it is of another one or damaged."""
    summary = read_json(folder / SUMMARY, "audit", {"provenance": dict, "table": str})
    if summary["provenance"].get("inputs", {}).get("store") != store.digest:
        raise BssError(f"{folder}: is an audit of another store than {store.path}. Run `bss audit` again.")
    if not (folder / TABLE).is_file() or digest_file(folder / TABLE) != summary["table"]:
        raise BssError(f"{folder / TABLE}: is not the table of {folder / SUMMARY}. Run `bss audit` again.")
    of_verdict = ("kind", "probability", "blame", "suggested", "suggested_confidence")
    columns = ("id", "split", "class", *of_verdict, "duplicate_of", "leakage")
    return summary, open_table(folder / TABLE, "audit", columns)


def audit_files(folder: Path, store: Store) -> dict[str, Path]:
    """Return the files of the audit in `folder` by name; none if it is not of `store`, or there is none."""
    try:
        read_results(folder, store)
    except BssError:
        return {}
    return {name: folder / name for name in (SUMMARY, ROWS, TABLE)}


def column_of(explanation: Explanation) -> str:
    """Return the column with the probability of an explanation, such as ``p_contradiction_audio``."""
    return f"p_{explanation.kind}" + (f"_{explanation.modality}" if explanation.modality else "")


def _columns(
    store: Store,
    rows: Ints,
    verdicts: Verdicts,
    facts: Mapping[str, Mapping[str, Floats]],
    duplicates: Duplicates,
) -> dict[str, list[Any]]:
    ids, splits, groups = store.ids, store.splits, store.groups
    best = verdicts.best()
    partner = duplicates.partner[rows]
    kinds: list[str] = [UNKNOWN if e is None else e.kind for e in best]
    for i in np.flatnonzero(partner >= 0):
        if kinds[i] in ("clean", UNKNOWN):
            kinds[i] = "duplicate"
    columns: dict[str, list[Any]] = {
        "id": [ids[row] for row in rows],
        "split": [str(splits[row]) for row in rows],
        "class": [store.classes[label] for label in store.labels[rows]],
        "group": [groups[row] for row in rows.tolist()],
        "kind": kinds,
        "probability": _numbers(verdicts.probability),
        "blame": [None if e is None else e.modality for e in best],
    }
    wrong = [kind == "label" for kind in kinds]
    columns["suggested"] = [store.classes[c] if w else None for c, w in zip(verdicts.suggested, wrong, strict=True)]
    columns["suggested_confidence"] = _numbers(np.where(wrong, verdicts.suggested_confidence, np.nan))
    for number, explanation in enumerate(verdicts.explanations):
        columns[column_of(explanation)] = _numbers(verdicts.posterior[:, number])
    for name, supported in verdicts.supported.items():
        columns[f"{name}_shows"] = [None if label < 0 else store.classes[label] for label in supported]
        columns[f"{name}_confidence"] = _numbers(verdicts.confidence[name])
    for name, of_modality in facts.items():
        columns |= {f"{name}_{fact}": _numbers(values) for fact, values in of_modality.items()}
    columns["duplicate_of"] = [None if p < 0 else ids[p] for p in partner]
    columns["similarity"] = _numbers(duplicates.similarity[rows])
    columns["leakage"] = [_leaks(store, int(row), int(p)) for row, p in zip(rows, partner, strict=True)]
    return columns


def _leaks(store: Store, row: int, partner: int) -> bool:
    """Return whether a duplicate is in another split or group."""
    if partner < 0:
        return False
    return bool(store.splits[row] != store.splits[partner] or store.groups[row] != store.groups[partner])


def _numbers(values: Floats) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in values]


def _write_csv(path: Path, columns: Mapping[str, list[Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        for row in zip(*columns.values(), strict=True):
            writer.writerow([f"{value:.6g}" if isinstance(value, float) else value for value in row])


def _summary(
    config: Config, store: Store, rows: Ints, verdicts: Verdicts, columns: Mapping[str, list[Any]]
) -> dict[str, Any]:
    judged = ~np.isnan(verdicts.log_odds)
    n = int(judged.sum())
    by_kind = {
        kind: verdicts.posterior[judged][:, [i for i, e in enumerate(verdicts.explanations) if e.kind == kind]].sum()
        for kind in dict.fromkeys(e.kind for e in verdicts.explanations)
    }
    copies = sum(partner is not None for partner in columns["duplicate_of"])
    likely = Counter(kind for kind, p in zip(columns["kind"], columns["probability"], strict=True) if (p or 0) > 0.5)
    kinds: dict[str, dict[str, float]] = {
        kind: {**share(float(total), n), "likely": likely[kind]} for kind, total in by_kind.items()
    }
    kinds["duplicate"] = {**share(copies, len(rows)), "likely": copies}
    parameters = pick(config_to_tree(config), DECIDING["audit"].parameters)
    right = {
        name: float((supported[judged] == store.labels[rows][judged]).mean()) if n else None
        for name, supported in verdicts.supported.items()
    }
    inputs = {"store": store.digest, **digest_weights(config.network)}
    return {
        "schema_version": 1,
        "samples": {split: int((store.splits[rows] == split).sum()) for split in SPLITS},
        "unknown": len(rows) - n,
        "kinds": kinds,
        "leaks": sum(columns["leakage"]),
        "agreement_with_label": right,
        "temperatures": verdicts.temperatures,
        "seeds": list(config.audit.seeds),
        "folds": config.audit.folds,
        "provenance": provenance("audit", inputs, parameters),
    }


def _print(console: Console, summary: dict[str, Any], columns: Mapping[str, list[Any]]) -> None:
    counts = ", ".join(f"{count} {split}" for split, count in summary["samples"].items() if count)
    table = Table(title=f"Audit of {counts} samples", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("kind")
    for title in ("share", "95 % interval", "probable", "meaning"):
        table.add_column(title, justify="left" if title == "meaning" else "right")
    for kind, found in summary["kinds"].items():
        if kind != "clean":
            interval = f"{100 * found['low']:.1f} to {100 * found['high']:.1f} %"
            table.add_row(kind, f"{100 * found['share']:.1f} %", interval, str(found["likely"]), MEANING[kind])
    console.print(table)
    modalities = [name.removesuffix("_shows") for name in columns if name.endswith("_shows")]
    table = Table(title="The most suspicious", box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("id", "split", "class", "kind", "p", "blame", *(f"{name} shows" for name in modalities)):
        table.add_column(title, justify="right" if title == "p" else "left")
    for i in range(min(SHOWN, len(columns["id"]))):
        probability = columns["probability"][i]
        if probability is None or probability <= 0.5:
            break
        cells = [columns[name][i] for name in ("id", "split", "class", "kind")]
        shows = [
            f"{columns[f'{name}_shows'][i]} ({100 * columns[f'{name}_confidence'][i]:.0f} %)" for name in modalities
        ]
        table.add_row(*map(_plain, cells), f"{probability:.3f}", columns["blame"][i] or "-", *map(_plain, shows))
    if table.row_count:
        console.print(table)
    if summary["leaks"]:
        console.print(
            f"Caution: {summary['leaks']} samples have a duplicate in another split or group: "
            "see duplicate_of and leakage in the table."
        )
    if summary["unknown"]:
        console.print(f"Note: {summary['unknown']} samples without a verdict: {MEANING[UNKNOWN]}.")


def _plain(text: Any) -> Any:
    """Return the user's text so that its square brackets are not markup."""
    from rich.text import Text

    return Text(str(text))
