"""Strict reading of the CSV files that users write."""

import csv
from pathlib import Path

from bss.data.problems import raise_problems
from bss.errors import BssError


def read_csv(path: Path) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """Return the header, and line number and values of every row; all values are text.

    A byte-order mark and any line ending are fine, empty lines are passed over. Raises `BssError` for a file
    that is empty, not UTF-8 or not CSV, for a column that is named twice, and for all rows of another width
    than the header.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, strict=True)
            columns = next(reader, None)
            if not columns:
                raise BssError(f"{path}: empty. Expected a header with the names of the columns.")
            require_distinct(path, columns)
            rows = []
            problems = []
            for values in reader:
                if not values:
                    continue
                if len(values) != len(columns):
                    problems.append(f"row {reader.line_num}: {len(values)} values for {len(columns)} columns")
                rows.append((reader.line_num, dict(zip(columns, values, strict=False))))
    except UnicodeDecodeError as error:
        raise BssError(f"{path}: not a text file in UTF-8 (byte {error.start}). Save it as CSV UTF-8.") from error
    except OSError as error:
        raise BssError(f"{path}: cannot be read ({error.strerror}).") from error
    except csv.Error as error:
        raise BssError(f"{path}: not a valid CSV file (line {reader.line_num}: {error}).") from error
    raise_problems(str(path), problems, "Is a comma inside a value? Then quote the value.")
    return columns, rows


def require_distinct(path: Path, columns: list[str]) -> None:
    """Raise `BssError` where a column is named twice, as nothing tells which one is meant."""
    if len(set(columns)) < len(columns):
        raise BssError(f"{path}: a column is named twice in {listed(columns)}.")


def listed(columns: list[str]) -> str:
    """Return the names of columns as messages tell them: the first 50, and no name longer than 100 letters."""
    shown = [name[:100] for name in columns[:50]]
    return f"{shown}" + f" and {len(columns) - 50} more" * (len(columns) > 50)
