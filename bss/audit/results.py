"""The files of an audit, audit.csv, audit.parquet and audit.json, as they are written and read."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from bss.audit.duplicates import Duplicates
from bss.audit.folds import Ints
from bss.audit.page.write import FILE_BYTES, MEDIA, PAGE, write_page
from bss.audit.shares import shares_by, shares_of
from bss.audit.terminal import UNKNOWN, print_audit
from bss.audit.verdicts import Floats, Verdicts
from bss.balance.auditing import Explanation
from bss.config import Config, config_to_tree
from bss.data.store import SPLITS, Store
from bss.data.tables import open_table, table_columns, write_table
from bss.deciding import DECIDING, pick
from bss.errors import BssError
from bss.files import digest_file, read_json, whole_file, write_json
from bss.models.pretrained import digest_weights
from bss.provenance import provenance

TABLE, ROWS, SUMMARY = "audit.parquet", "audit.csv", "audit.json"


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
    suspicion = np.nan_to_num(verdicts.log_odds, nan=-np.inf)
    suspicion[columns["leakage"]] = np.maximum(suspicion[columns["leakage"]], 0.0)  # before all that is likely clean
    order = np.argsort(-suspicion, kind="stable")
    columns = {name: [values[i] for i in order.tolist()] for name, values in columns.items()}
    with whole_file(folder / TABLE) as file:
        write_table(file, columns)
    with whole_file(folder / ROWS) as file:
        _write_csv(file, columns)
    summary = _summary(config, store, rows, verdicts, columns)
    summary["table"] = digest_file(folder / TABLE)  # shows readers whether both are of one audit
    summary["page"] = write_page(config, store, summary, columns, folder)
    with whole_file(folder / SUMMARY) as file:
        write_json(file, summary)
    print_audit(console, summary, columns)
    console.print(f"audit: {folder / ROWS}", highlight=False, soft_wrap=True)
    if summary["page"] is not None:
        media = "" if summary["page"]["form"] == "file" else f", with the folder {MEDIA} next to it"
        console.print(f"Page: {folder / PAGE}{media}", highlight=False, markup=False, soft_wrap=True)


def read_summary(folder: Path, store: Store) -> dict[str, Any]:
    """Return audit.json of an audit of `store`; raise `BssError` if it is of another one, or not of its table."""
    summary = read_json(folder / SUMMARY, "audit", {"provenance": dict, "table": str})
    if summary["provenance"].get("inputs", {}).get("store") != store.digest:
        raise BssError(f"{folder}: is an audit of another store, not of {store.path}. Run `bss audit` again.")
    if not (folder / TABLE).is_file() or digest_file(folder / TABLE) != summary["table"]:
        raise BssError(f"{folder / TABLE}: does not belong to {folder / SUMMARY}. Run `bss audit` again.")
    return summary


def read_verdicts(folder: Path, store: Store) -> list[dict[str, Any]]:
    """Return the rows of the table of an audit of `store`, without facts; raises `BssError` as `read_summary` does."""
    read_summary(folder, store)
    of_verdict = ("kind", "probability", "blame", "suggested", "suggested_confidence")
    probabilities = (name for name in table_columns(folder / TABLE, "audit") if name.startswith("p_"))
    columns = ("id", "split", "class", *of_verdict, *probabilities, "duplicate_of", "leakage")
    rows: list[dict[str, Any]] = open_table(folder / TABLE, "audit", columns).arrow.to_pylist()
    return rows


def audit_files(folder: Path, store: Store) -> dict[str, Path]:
    """Return the files of the audit in `folder` by name. Empty if there is no audit, or if it belongs to another store.

    The page is among them if it is a single file of at most 48 MiB.
    """
    try:
        summary = read_summary(folder, store)
    except BssError:
        return {}
    names = [SUMMARY, ROWS, TABLE]
    page = summary.get("page")
    if page is not None and page["form"] == "file" and _is_small_file_with(folder / PAGE, page["sha256"]):
        names.append(PAGE)  # with a folder of media it would be thousands of files
    return {name: folder / name for name in names}


def _is_small_file_with(path: Path, digest: str) -> bool:
    return path.is_file() and path.stat().st_size <= 2 * FILE_BYTES and digest_file(path) == digest


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
    explanations: dict[str, list[str]] = {}
    for explanation in verdicts.explanations:
        explanations.setdefault(explanation.kind, []).append(column_of(explanation))
    kinds = shares_of(columns, explanations, range(len(rows)))
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
        "groups": shares_by("group", columns, explanations, kinds),
        "classes": shares_by("class", columns, explanations, kinds),
        "leaks": sum(columns["leakage"]),
        "agreement_with_label": right,
        "temperatures": verdicts.temperatures,
        "seeds": list(config.audit.seeds),
        "folds": config.audit.folds,
        "provenance": provenance("audit", inputs, parameters),
    }
