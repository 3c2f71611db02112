"""Ground truth of each pair, for evaluation only."""

from collections import Counter
from pathlib import Path

from bss.data.read_csv import listed, read_csv
from bss.errors import BssError, raise_problems


def read_truth(path: Path, ids: list[str]) -> dict[str, list[str]]:
    """Return the columns of the truth file for `ids`, in their order: id, kind and whatever else it has.

    Raises `BssError` if the file or a column is missing, an id occurs twice, a kind is empty, or the file
    does not cover every id.
    """
    columns, lines = read_csv(path)
    if "id" not in columns or "kind" not in columns:
        raise BssError(f"{path}: needs the columns id and kind, has {listed(columns)}.")
    rows = [(number, {name: value.strip() for name, value in row.items()}) for number, row in lines]
    counts = Counter(row["id"] for _, row in rows)
    problems = [f"row {number}: {name} is empty" for number, row in rows for name in ("id", "kind") if not row[name]]
    problems += [f"row {number}: id {row['id']!r} is not unique" for number, row in rows if counts[row["id"]] > 1]
    raise_problems(str(path), problems, "Fix these rows of the truth file.")
    by_id = {row["id"]: row for _, row in rows}
    missing = [name for name in ids if name not in by_id]
    if missing:
        raise BssError(f"{path}: has no row for {len(missing)} samples, such as {missing[:3]}.")
    return {column: [by_id[name][column] for name in ids] for column in columns}
