"""The table of every tested difference, as texts."""

from typing import Any

from bss.report.comparison import Comparison
from bss.report.csv_rows import difference_rows
from bss.report.wording import interval

EPOCHS = {"test_acc": "selected", "last_test_acc": "last"}


def difference_columns(comparison: Comparison) -> list[str]:
    """Return the titles of `difference_table`."""
    corrected = ["corrected"] if comparison["correction"] == "max-t" else []
    return ["scheduler", "against", "epoch", "difference", "sd", "p", *corrected, "verdict", "seeds"]


def difference_table(comparison: Comparison) -> list[list[str]]:
    """Return a row of texts per scheduler, reference and metric; ``-`` if there are too few seeds."""
    return [_cells(row, comparison["correction"] == "max-t") for row in difference_rows(comparison)]


def _cells(row: dict[str, Any], corrected: bool) -> list[str]:
    return [
        *(row["scheduler"], row["reference"], EPOCHS[row["metric"]], interval(row)),
        *(number(row["sd"], 2), number(row["p"], 4)),
        *([number(row["p_corrected"], 4)] if corrected else []),
        row["verdict"].replace("-", " the "),
        number(row["seeds_needed"], 0),
    ]


def number(value: float | None, digits: int) -> str:
    """Return a number with `digits` after the point; ``-`` for None."""
    return "-" if value is None else f"{value:.{digits}f}"
