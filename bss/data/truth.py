"""What is known of each pair, for evaluation only."""

import csv
from pathlib import Path

from bss.errors import BssError


def read_truth(path: Path, ids: list[str]) -> dict[str, list[str]]:
    """Return the columns of the truth file for `ids`, in their order: id, kind and whatever else it has.

    Raises `BssError` where the file is missing, lacks a column, or does not tell of every id.
    """
    if not path.is_file():
        raise BssError(f"{path}: not found. Set prepare.truth to null where nothing is known of the pairs.")
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file, restval=""))
    columns = list(rows[0]) if rows else []
    if "id" not in columns or "kind" not in columns:
        raise BssError(f"{path}: needs the columns id and kind, has {columns}.")
    by_id = {row["id"]: row for row in rows}
    missing = [name for name in ids if name not in by_id]
    if missing:
        raise BssError(f"{path}: tells nothing of {len(missing)} samples, such as {missing[:3]}.")
    return {column: [by_id[name][column] for name in ids] for column in columns}
