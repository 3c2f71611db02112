"""The comparison in the terminal."""

from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from bss.console import make_table
from bss.errors import BssError
from bss.files import read_json
from bss.metrics.base import SplitMetric
from bss.metrics.find import metrics_of
from bss.report.before_after import before_table, decided_lines
from bss.report.comparison import ROLES, Comparison
from bss.report.markdown import markdown_comparison
from bss.report.matrix_table import compact_rows, matrix_findings
from bss.report.next_steps import next_steps
from bss.report.selection import listed, shown
from bss.report.verdicts import cautions, headlines, verdicts
from bss.report.wording import interval, mark


def show(report: Path, console: Console, markdown: bool = False, ui: str | None = "make ui (or `bss ui`)") -> None:
    """Print the comparison in `report` and the paths of its other parts, or only its table with `markdown`.

    `ui` is the command that shows its MLflow runs; None if there are none. Raises `BssError` without a comparison.
    """
    path = report / "comparison.json"
    comparison, times = read_json(path, "compare", {"schedulers": dict}), read_json(report / "times.json", "compare")
    try:
        if markdown:
            console.print(markdown_comparison(comparison), highlight=False, markup=False, soft_wrap=True)
            return
        print_comparison(comparison, times, console)
    except (AttributeError, IndexError, KeyError, StopIteration, TypeError, ValueError) as error:
        raise BssError(f"{path}: damaged ({error!r}). Run `bss compare` again.") from error
    for line in (f"Report: {report / 'report.html'}", *([] if ui is None else [f"MLflow UI: {ui}"])):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def print_comparison(comparison: Comparison, times: dict[str, float], console: Console) -> None:
    """Print a line per scheduler in tables as wide as the console at most, and what they mean.

    Of a long list the references and the best are printed, with a summary instead of a sentence for each.
    """
    seeds, protocol = comparison["seeds"], comparison["protocol"]
    selected = "selected on test (protocol published)" if protocol == "published" else "selected on val"
    schedulers = {name: comparison["schedulers"][name] for name in listed(comparison, shown(comparison))}
    left_out = len(comparison["schedulers"]) - len(schedulers)
    effects = {name: effect_cells(entry, comparison) for name, entry in schedulers.items()}
    title = f"Accuracy on test in %, {selected}, {seeds} seeds; * better or worse, = within the margin"
    console.print(_table(title, effect_columns(comparison), effects))
    details = {name: detail_cells(entry, comparison, times[name]) for name, entry in schedulers.items()}
    _print_columns(f"Means over seeds, {_units(comparison)}", detail_columns(comparison), details, console)
    if left_out:
        console.print(
            f"{left_out} more schedulers have a lower accuracy than these: comparison.csv and the report list them.",
            markup=False,
            soft_wrap=True,
        )
    if "matrix" in comparison:
        signs = "o order, s strategy, i interaction, c control, b budget"
        title = f"Schedulers x strategies: accuracy on test in %; clear: {signs}"
        _print_columns(title, comparison["matrix"]["strategies"], compact_rows(comparison), console)
    if "before" in comparison:
        _print_before(comparison, console)
    lines = verdicts(comparison)
    if left_out:  # a sentence per scheduler would be longer than the table
        lines = [*cautions(comparison), *headlines(comparison), *next_steps(comparison)]
    if "matrix" in comparison:
        lines = [*matrix_findings(comparison), *lines]
    for line in [*decided_lines(comparison), *lines]:
        console.print(line, markup=False, soft_wrap=True)


def _print_before(comparison: Comparison, console: Console) -> None:
    titles, rows = before_table(comparison)
    table = make_table(titles, rows)
    table.title = f"Before and after the decisions: accuracy on test in %, {len(comparison['before']['seeds'])} seeds"
    console.print(table)


def effect_columns(comparison: Comparison) -> list[str]:
    """Return the titles for `effect_cells`."""
    references = [comparison[role] for _, role in ROLES if comparison[role] is not None]
    return ["test ± sd", *(f"vs {name}" for name in references)]


def effect_cells(entry: dict[str, Any], comparison: Comparison) -> list[str]:
    """Return one scheduler's accuracy and its differences to baseline and control."""
    row = [f"{100 * entry['test_acc']['mean']:.2f} ± {100 * entry['test_acc']['sd']:.2f}"]
    for key, role in ROLES:
        if comparison[role] is None:
            continue
        difference = entry[key]["test_acc"] if key in entry else None
        row.append("-" if difference is None else interval(difference) + mark(difference))
    return row


def detail_columns(comparison: Comparison) -> list[str]:
    """Return the titles for `detail_cells`."""
    titles = [_title(metric, label) for _, metric, label in _listed(comparison)]
    return ["last epoch", *titles, "epoch", "steps", "seconds"]


def detail_cells(entry: dict[str, Any], comparison: Comparison, seconds: float) -> list[str]:
    """Return one scheduler's other metrics, the selected epoch (from 1), and what it cost."""
    row = [f"{100 * entry['last_test_acc']['mean']:.1f}"]
    row += [f"{metric.factor * entry[key]['mean']:.{metric.digits}f}" for key, metric, _ in _listed(comparison)]
    return [*row, f"{entry['selected_epoch']['mean'] + 1:.1f}", f"{entry['steps']['mean']:.0f}", f"{seconds:.1f}"]


def _units(comparison: Comparison) -> str:
    """Say in which unit `detail_cells` are."""
    others = [label for _, metric, label in _listed(comparison) if metric.unit != "%"]
    return "in %" + (f" except {', '.join(others)}" if others else "")


def _listed(comparison: Comparison) -> list[tuple[str, SplitMetric, str]]:
    """Return key in the comparison, metric and label of what the tables list; metrics that do not apply have no key."""
    first = next(iter(comparison["schedulers"].values()))
    names = tuple(modality_names(comparison))
    listed = [
        (f"test_{one.name}", metric, one.label)
        for metric in metrics_of(SplitMetric)
        if metric.table
        for one in metric.series(names, "test")
    ]
    return [(key, metric, label) for key, metric, label in listed if key in first]


def _title(metric: SplitMetric, label: str) -> str:
    unit = "" if metric.unit in ("%", "") else f", {metric.unit}"
    return label + unit + (" ↓" if metric.better == "lower" else "")


def _print_columns(title: str, columns: list[str], rows: dict[str, list[str]], console: Console) -> None:
    """Print a table, or several with some of the columns each if one is wider than the console."""
    unlimited, first = console.options.update(width=10_000), 0
    while first < len(columns):
        end = len(columns)
        while True:
            table = _table(title, columns[first:end], {name: cells[first:end] for name, cells in rows.items()})
            if end == first + 1 or console.measure(table, options=unlimited).maximum <= console.width:
                break
            end -= 1
        console.print(table)
        first = end


def _table(title: str, columns: list[str], rows: dict[str, list[str]]) -> Table:
    table = Table(title=title, box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True, title_justify="left")
    table.add_column("scheduler", no_wrap=True)
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    for name, cells in rows.items():
        table.add_row(name, *cells)
    return table


def modality_names(comparison: Comparison) -> list[str]:
    """Return the modalities with accuracies in the comparison."""
    first = next(iter(comparison["schedulers"].values()))
    return [key.removeprefix("test_acc_") for key in first if key.startswith("test_acc_")]
