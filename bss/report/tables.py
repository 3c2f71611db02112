"""The tables of the page, each with its files to download."""

from dataclasses import dataclass
from typing import Any

from bss.report.audit import PICTURE, SOUND
from bss.report.before_after import before_table
from bss.report.comparison import Comparison
from bss.report.cost import cost_rows, cost_texts, cost_titles
from bss.report.csv_rows import comparison_rows, difference_rows
from bss.report.difference_table import difference_columns, difference_table
from bss.report.downloads import downloads
from bss.report.matrix_table import Cell, effect_rows, effect_texts, effect_titles
from bss.report.selection import listed
from bss.report.terminal import detail_cells, detail_columns, effect_cells, effect_columns


@dataclass(frozen=True)
class PageTable:
    """Texts to show and the same table as files."""

    titles: list[str]
    rows: list[list[str]]
    files: dict[str, str]
    """File name to ``data:`` URL."""


def page_table(
    name: str, titles: list[str], rows: list[list[str]], exact: list[dict[str, Any]] | None = None
) -> PageTable:
    """Return a table whose files are called `name`; its CSV has the `exact` values, or the texts of `rows`."""
    values = exact if exact is not None else [dict(zip(titles, row, strict=True)) for row in rows]
    return PageTable(titles, rows, downloads(name, values, titles, rows))


def comparison_table(comparison: Comparison, times: dict[str, float]) -> PageTable:
    """Return a row per scheduler: accuracy, differences, the other metrics, and what it cost."""
    titles = ["scheduler", *effect_columns(comparison), *detail_columns(comparison)]
    entries = [(name, comparison["schedulers"][name]) for name in listed(comparison, list(comparison["schedulers"]))]
    rows = [
        [name, *effect_cells(entry, comparison), *detail_cells(entry, comparison, times[name])]
        for name, entry in entries
    ]
    return page_table("comparison", titles, rows, comparison_rows(comparison))


def differences_table(comparison: Comparison) -> PageTable:
    """Return a row per tested difference."""
    rows = difference_table(comparison)
    return page_table("differences", difference_columns(comparison), rows, difference_rows(comparison))


def before_after_table(comparison: Comparison) -> PageTable:
    """Return a row per scheduler that the earlier comparison has."""
    titles, rows = before_table(comparison)
    exact = [{"scheduler": name, **entry} for name, entry in comparison["before"]["schedulers"].items()]
    return page_table("before-after", titles, rows, exact)


def matrix_table(comparison: Comparison, rows: list[tuple[str, list[Cell | None]]]) -> PageTable:
    """Return the accuracies of `rows`; the differences are in `effects_table`."""
    titles = ["scheduler", *comparison["matrix"]["strategies"]]
    return page_table(
        "matrix", titles, [[name, *("-" if c is None else c.mean for c in cells)] for name, cells in rows]
    )


def effects_table(comparison: Comparison) -> PageTable:
    """Return a row per effect of the matrix."""
    return page_table("effects", effect_titles(comparison), effect_texts(comparison), effect_rows(comparison))


def cost_table(comparison: Comparison, times: dict[str, float]) -> PageTable:
    """Return a row per combination of the matrix: accuracy and cost."""
    return page_table("cost", cost_titles(), cost_texts(comparison, times), cost_rows(comparison, times))


def samples_table(samples: list[dict[str, str]]) -> PageTable:
    """Return the texts of the least balanced samples, without pictures and sounds."""
    titles = [key for key in samples[0] if not key.endswith((PICTURE, SOUND))]
    return page_table("least-balanced", titles, [[sample[key] for key in titles] for sample in samples])


def pairs_table(name: str, titles: tuple[str, str], pairs: dict[str, Any]) -> PageTable:
    """Return a row per key and value."""
    return page_table(name, list(titles), [[key, str(value)] for key, value in pairs.items()])
