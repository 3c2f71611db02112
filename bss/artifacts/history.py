"""history.csv: one row per epoch of a trial."""

import csv
from pathlib import Path
from typing import Any

from bss.errors import BssError


def read_history(path: Path) -> list[dict[str, Any]]:
    """Return the rows of history.csv: numbers as float, an empty cell as None, the digest as text.

    Raises `BssError` if the file is missing or damaged.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [
                {
                    name: value if name == "schedule/digest" else float(value) if value else None
                    for name, value in row.items()
                }
                for row in csv.DictReader(file)
            ]
    except (OSError, ValueError, TypeError, csv.Error) as error:
        raise BssError(f"{path}: missing or damaged ({error}). Remove its folder and run `bss train`.") from error
    if not rows:
        raise BssError(f"{path}: has no epochs. Remove its folder and run `bss train`.")
    if any(row.get("epoch") != epoch for epoch, row in enumerate(rows)):
        raise BssError(f"{path}: damaged (epochs are not 0, 1, 2, ...). Remove its folder and run `bss train`.")
    return rows
