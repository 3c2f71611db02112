"""The shards of a data set, which are prepared apart from each other, and the parts of a store that they leave."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bss.balance.checks import require
from bss.errors import BssError, raise_problems
from bss.files import read_json, write_json

PART = "part.json"
"""File in a part of a store that tells which one it is."""
CURE = "Run the pipeline without its cache."
"""What helps against parts that do not belong together."""


@dataclass(frozen=True)
class Shard:
    """One of several shares of the samples that lie one behind the other in the manifest and differ by one at most."""

    number: int
    """Which one, from 0."""
    of: int
    """How many there are; with more than samples some are empty."""
    data: str
    """Version of the data, such as DVC's digest: parts of different ones are not joined."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(self.of >= 1, "of", self.of, "at least 1")
        require(0 <= self.number < self.of, "number", self.number, f"in [0, {self.of})")

    def rows(self, count: int) -> range:
        """Return which of `count` samples are in this shard."""
        return range(count * self.number // self.of, count * (self.number + 1) // self.of)


@dataclass(frozen=True)
class Part:
    """What one shard left: a store of its samples alone, without any array where there are none."""

    path: Path
    shard: Shard
    counts: dict[str, int]
    """Samples of each split in the whole manifest."""
    bad_rows: int
    """Rows of the whole manifest that are no samples; the first part lists them."""


def write_part(folder: Path, shard: Shard, counts: Mapping[str, int], bad_rows: int) -> None:
    """Write into `folder` which part it is; `counts` and `bad_rows` as `Part` has them."""
    write_json(folder / PART, {"schema_version": 2, **vars(shard), "counts": dict(counts), "bad_rows": bad_rows})


def read_part(folder: Path) -> Part:
    """Return the part in `folder`; raise `BssError` where there is none."""
    found = read_json(
        folder / PART, "prepare", {"number": int, "of": int, "data": str, "counts": dict, "bad_rows": int}
    )
    try:
        shard = Shard(found["number"], found["of"], found["data"])
        sound = all(type(count) is int for count in found["counts"].values())
        require(sound, "counts", found["counts"], "whole numbers")
    except ValueError as error:
        raise BssError(f"{folder / PART}: damaged ({error}). {CURE}") from error
    return Part(folder, shard, found["counts"], found["bad_rows"])


def in_order(parts: Sequence[Part], data: str) -> list[Part]:
    """Return the parts, of which there is one at least, by their numbers.

    Raises `BssError` for every one that is missing, there twice, or not of the version `data`, all at once.
    """
    of = parts[0].shard.of
    found = Counter(part.shard.number for part in parts)
    problems = [f"{part.path}: one of {part.shard.of} shards, not of {of}" for part in parts if part.shard.of != of]
    problems += [f"shard {number} of {of} is missing" for number in range(of) if not found[number]]
    problems += [f"shard {number} of {of} is there {count} times" for number, count in found.items() if count > 1]
    problems += [
        f"{part.path}: holds the data {part.shard.data[:12]}, expected {data[:12]}"
        for part in parts
        if part.shard.data != data
    ]
    raise_problems("parts of the store", problems, CURE)
    return sorted(parts, key=lambda part: part.shard.number)
