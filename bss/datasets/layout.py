"""Reading the annotation files that datasets come with."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bss.data.decode.bad_sample import BadSampleError
from bss.data.decode.paths import inside
from bss.data.problems import raise_problems
from bss.errors import BssError


def first_there(root: Path, *choices: str) -> str:
    """Return the first of `choices`, paths below `root`, that is there; `BssError` where none is."""
    for choice in choices:
        if (root / choice).exists():
            return choice
    if not root.is_dir():
        raise BssError(f"{root}: no such folder. Set prepare.root to the folder of your data.")
    raise BssError(f"{root}: has none of {', '.join(choices)}. See docs/datasets.md for the layout that is read.")


def read_lines(root: Path, name: str) -> list[tuple[int, str]]:
    """Return number (from 1) and text of each line of ``root / name`` that is not empty."""
    return [(number, line) for number, line in enumerate(_text(root, name).splitlines(), 1) if line.strip()]


def read_table(
    root: Path, name: str, columns: Sequence[str], delimiter: str = ",", quoted: bool = True
) -> list[dict[str, str]]:
    """Return the rows of a table without a header, its columns named `columns`.

    Raises `BssError` for a file that is missing, empty or not a table, and for every row of another width.
    """
    lines = _text(root, name).splitlines(keepends=True)
    reader = csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE)
    rows, problems = [], []
    try:
        for values in reader:
            if not values:
                continue
            if len(values) != len(columns):
                problems.append(f"row {reader.line_num}: {len(values)} values for the columns {', '.join(columns)}")
            rows.append({column: value.strip() for column, value in zip(columns, values, strict=False)})
    except csv.Error as error:
        raise BssError(f"{root / name}: not a valid table (line {reader.line_num}: {error}).") from error
    raise_problems(str(root / name), problems, "Is it the file of the distribution?")
    if not rows:
        raise BssError(f"{root / name}: empty.")
    return rows


def read_table_with_header(
    root: Path, name: str, columns: Sequence[str], delimiter: str = ",", quoted: bool = True
) -> list[dict[str, str]]:
    """Return the rows of a table whose header is `columns` (a name may be there twice: the last value counts)."""
    header, *rows = read_table(root, name, columns, delimiter, quoted)
    found = list(header.values())
    if [text.lower() for text in found] != [column.lower() for column in columns]:
        raise BssError(f"{root / name}: the header is {found}, expected {list(columns)}.")
    return rows


def read_json_list(root: Path, name: str, keys: Sequence[str]) -> list[dict[str, Any]]:
    """Return a list of tables that all have `keys`."""
    try:
        entries = json.loads(_text(root, name))
    except (ValueError, RecursionError) as error:
        raise BssError(f"{root / name}: not valid JSON ({error}).") from error
    if not isinstance(entries, list) or not entries:
        raise BssError(f"{root / name}: expected a list of {', '.join(keys)}, found {type(entries).__name__}.")
    problems = [
        f"entry {number}: lacks {', '.join(missing)}"
        for number, entry in enumerate(entries)
        if (missing := [key for key in keys if not isinstance(entry, dict) or key not in entry])
    ]
    raise_problems(str(root / name), problems, "Is it the file of the distribution?")
    return entries


def _text(root: Path, name: str) -> str:
    path = root / name
    try:
        return inside(root.resolve(), name).read_text(encoding="utf-8-sig")
    except BadSampleError as error:
        raise BssError(f"{path}: {error}. See docs/datasets.md for the layout that is read.") from error
    except OSError as error:
        if not root.is_dir():
            raise BssError(f"{root}: no such folder. Set prepare.root to the folder of your data.") from error
        raise BssError(
            f"{path}: cannot be read ({error.strerror}). See docs/datasets.md for the layout that is read."
        ) from error
    except UnicodeDecodeError as error:
        raise BssError(f"{path}: not a text file in UTF-8 (byte {error.start}).") from error
