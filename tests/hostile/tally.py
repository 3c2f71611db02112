"""How many bad inputs were tried: counted by kind of input and by what became of them.

A test calls `tried` for each input. With the environment variable BSS_TALLY naming a file, the counts of the
session are added to those in it when the session ends, as JSON:
``{"png": {"refused": 412, "read": 31, "compared": 31}}``.
"""

import fcntl
import json
from collections import Counter
from pathlib import Path

counts: Counter[tuple[str, str]] = Counter()


def tried(kind: str, outcome: str, number: int = 1) -> None:
    """Count `number` inputs of `kind`: refused, with a message that says why, or read correctly.

    What is read counts a second time, as compared, when its values are those of a second, independent reading.
    """
    counts[kind, outcome] += number


def add_to(path: Path) -> None:
    """Add the counts to those in the file at `path`; several processes may do so."""
    with path.open("a+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        before = json.loads(file.read() or "{}")
        for (kind, outcome), number in counts.items():
            of_kind = before.setdefault(kind, {})
            of_kind[outcome] = of_kind.get(outcome, 0) + number
        file.truncate(0)
        file.write(json.dumps(before, indent=2, sort_keys=True) + "\n")
