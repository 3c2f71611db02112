"""Strict reading of the CSV files that users write."""

import csv
from collections.abc import Callable, Iterator
from pathlib import Path

from bss.data.table_contents import MARKS, held_instead
from bss.errors import BssError, raise_problems

Row = tuple[int, dict[str, str]]
"""Row number in the file, and values."""

WRONG_WIDTH_FIX = "If a value contains a comma, quote it"


def read_csv(path: Path, on_wrong_width: Callable[[int, str], None] | None = None) -> tuple[list[str], Iterator[Row]]:
    """Return the header and a lazy iterator of line number and values of every row; all values are text.

    Values are separated by commas, in a .tsv file by tabs. A byte-order mark and any line ending are accepted; lines
    without any value, such as the ,,, below an exported sheet, are ignored. Rows with a wrong number of values
    are left out: `on_wrong_width` gets line number and problem of each. Raises `BssError` for a file that is empty,
    not UTF-8 or not CSV, for a duplicate column name and, without `on_wrong_width`, after the last row for all
    rows with a wrong number of values.
    """
    lines = _lines(path)
    _, columns = next(lines, (0, []))
    if not columns:
        raise BssError(f"{path}: empty. Expected a header with column names.")
    if columns[0].lstrip().startswith(MARKS) and (held := held_instead(path)):
        raise BssError(f"{path}: not a CSV file: {held}.")
    require_distinct(path, columns)
    return columns, _rows(path, columns, lines, on_wrong_width)


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, strict=True, delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
            for values in reader:
                if len(values) == 1 or any(value.strip() for value in values):
                    yield reader.line_num, values
    except UnicodeDecodeError as error:
        if held := held_instead(path):
            raise BssError(f"{path}: not a CSV file in UTF-8: {held}.") from error
        raise BssError(f"{path}: not a text file in UTF-8 (byte {error.start}). Save it as CSV UTF-8.") from error
    except OSError as error:
        raise BssError(f"{path}: cannot be read ({error.strerror}).") from error
    except csv.Error as error:
        held = held_instead(path)
        why = f": {held}" if held else f" (line {reader.line_num}: {error})"
        raise BssError(f"{path}: not a valid CSV file{why}.") from error


def _rows(
    path: Path,
    columns: list[str],
    lines: Iterator[tuple[int, list[str]]],
    on_wrong_width: Callable[[int, str], None] | None,
) -> Iterator[Row]:
    problems = []
    for number, values in lines:
        if len(values) == len(columns):
            yield number, dict(zip(columns, values, strict=True))
            continue
        problem = f"{len(values)} values for {len(columns)} columns"
        if on_wrong_width is None:
            problems.append(f"row {number}: {problem}")
        else:
            on_wrong_width(number, problem)
    raise_problems(str(path), problems, f"{WRONG_WIDTH_FIX}.")


def require_distinct(path: Path, columns: list[str]) -> None:
    """Raise `BssError` for a duplicate column name, which is ambiguous."""
    if len(set(columns)) < len(columns):
        raise BssError(f"{path}: duplicate column name in {listed(columns)}.")


def listed(columns: list[str]) -> str:
    """Return column names for messages: the first 50, each cut at 100 characters."""
    shown = [name[:100] for name in columns[:50]]
    return f"{shown}" + f" and {len(columns) - 50} more" * (len(columns) > 50)
