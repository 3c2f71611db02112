"""The comparison in the terminal."""

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bss.files import read_json
from bss.report.comparison import Comparison, interval, is_clear, verdicts


def show(report: Path, console: Console) -> None:
    """Print the comparison that lies in `report`, and where the rest of it is.

    Raises `BssError` where there is none.
    """
    comparison = read_json(report / "comparison.json", "compare")
    print_comparison(comparison, read_json(report / "times.json", "compare"), console)
    console.print(f"Report: {report / 'report.html'}    MLflow UI: make ui (or `bss ui`)")


def print_comparison(comparison: Comparison, times: dict[str, float], console: Console) -> None:
    """Print a line per scheduler, and what it means."""
    seeds, protocol = comparison["seeds"], comparison["protocol"]
    selected = (
        "test-selected, protocol published" if protocol == "published" else "val-selected, protocol honest"
    )
    table = Table(title=f"Accuracy on test in %, {selected}, mean over {seeds} seeds; * interval excludes 0")
    table.add_column("scheduler", no_wrap=True)
    for title in columns(comparison):
        table.add_column(title, justify="right")
    for name, entry in comparison["schedulers"].items():
        table.add_row(name, *cells(entry, comparison, times[name]))
    console.print(table)
    for line in verdicts(comparison):
        console.print(line, markup=False)


def columns(comparison: Comparison) -> list[str]:
    """Return the titles after the scheduler's name."""
    modalities = [f"{name}" for name in modality_names(comparison)]
    against = [f"vs {comparison['baseline']}"]
    if comparison["control"] is not None:
        against.append(f"vs {comparison['control']}")
    return ["test ± sd", *against, "last epoch", "F1", "mAP", *modalities, "steps", "s"]


def cells(entry: dict[str, Any], comparison: Comparison, seconds: float) -> list[str]:
    """Return one scheduler's texts for `columns`."""
    row = [f"{100 * entry['test_acc']['mean']:.2f} ± {100 * entry['test_acc']['sd']:.2f}"]
    for key, role in (("vs_baseline", "baseline"), ("vs_control", "control")):
        if comparison[role] is None:
            continue
        difference = entry[key]["test_acc"] if key in entry else None
        mark = "*" if difference is not None and is_clear(difference) else ""
        row.append("-" if difference is None else interval(difference) + mark)
    row += [_percent(entry[key]) for key in ("last_test_acc", "test_f1_macro", "test_map")]
    row += [_percent(entry[f"test_acc_{name}"]) for name in modality_names(comparison)]
    return [*row, f"{entry['steps']['mean']:.0f}", f"{seconds:.1f}"]


def modality_names(comparison: Comparison) -> list[str]:
    """Return the modalities that the comparison has accuracies of."""
    first = next(iter(comparison["schedulers"].values()))
    return [key.removeprefix("test_acc_") for key in first if key.startswith("test_acc_")]


def _percent(value: dict[str, float]) -> str:
    return f"{100 * value['mean']:.1f}"
