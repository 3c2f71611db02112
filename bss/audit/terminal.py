"""The audit in the terminal."""

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from bss.audit.shares import MOST_LISTED, Shares, ranked, stands_out

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


def print_audit(console: Console, summary: Mapping[str, Any], columns: Mapping[str, list[Any]]) -> None:
    """Print the share of each kind, groups and classes that stand out, and the most suspicious samples."""
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
    for of, found in (("group", summary["groups"]), ("class", summary["classes"])):
        _print_outstanding(console, of, found)
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


def _print_outstanding(console: Console, of: str, shares: Mapping[str, Shares]) -> None:
    """Print the groups or classes with more faults than the others, if any."""
    entries = [entry for entry in ranked(shares) if stands_out(entry[2])]
    if not entries:
        return
    table = Table(title=f"By {of}: clearly more than elsewhere", box=box.SIMPLE_HEAD, pad_edge=False)
    for title in (of, "kind", "probable", "share", "95 % interval", "elsewhere"):
        table.add_column(title, justify="left" if title in (of, "kind") else "right")
    for value, kind, own in entries[:MOST_LISTED]:
        table.add_row(_plain(value), kind, f"{own['likely']} of {own['n']}", *percentages(own))
    console.print(table)
    if len(entries) > MOST_LISTED:
        console.print(f"{len(entries) - MOST_LISTED} more in audit.json.", highlight=False)


def percentages(own: Mapping[str, Any]) -> list[str]:
    """Return share, interval and share elsewhere of one kind as texts."""
    interval = f"{100 * own['low']:.1f} to {100 * own['high']:.1f} %"
    elsewhere = "-" if own["elsewhere"] is None else f"{100 * own['elsewhere']:.1f} %"
    return [f"{100 * own['share']:.1f} %", interval, elsewhere]


def _plain(text: Any) -> Any:
    """Return the user's text so that its square brackets are not markup."""
    from rich.text import Text

    return Text(str(text))
