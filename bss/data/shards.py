"""Shards of a data set, which are prepared separately, and the parts of a store they produce."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bss.balance.checks import require
from bss.errors import BssError, raise_problems
from bss.files import read_json, write_json

PART = "part.json"
"""File that identifies a part of a store."""
FIX = "Rerun the pipeline without its cache."
"""The fix for parts that do not belong together."""


@dataclass(frozen=True)
class Shard:
    """One of several contiguous ranges of the manifest's samples; their sizes differ by at most one."""

    number: int
    """Number of the shard, from 0."""
    of: int
    """Number of shards; if it exceeds the number of samples, some are empty."""
    data: str
    """Version of the data, such as DVC's digest: parts of different versions are not joined."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(self.of >= 1, "of", self.of, "at least 1")
        require(0 <= self.number < self.of, "number", self.number, f"in [0, {self.of})")

    def rows(self, count: int) -> range:
        """Return the range of this shard in `count` samples."""
        return range(count * self.number // self.of, count * (self.number + 1) // self.of)


@dataclass(frozen=True)
class Part:
    """The output of one shard: a store of its samples only, without arrays if it is empty."""

    path: Path
    shard: Shard
    counts: dict[str, int]
    """Samples of each split in the whole manifest."""
    bad_rows: int
    """Invalid rows of the whole manifest; the first part lists them."""


def write_part(folder: Path, shard: Shard, counts: Mapping[str, int], bad_rows: int) -> None:
    """Write the identity of the part in `folder`; `counts` and `bad_rows` as in `Part`."""
    write_json(folder / PART, {"schema_version": 2, **vars(shard), "counts": dict(counts), "bad_rows": bad_rows})


def read_part(folder: Path) -> Part:
    """Return the part in `folder`; raise `BssError` if there is none."""
    found = read_json(
        folder / PART, "prepare", {"number": int, "of": int, "data": str, "counts": dict, "bad_rows": int}
    )
    try:
        shard = Shard(found["number"], found["of"], found["data"])
        sound = all(type(count) is int for count in found["counts"].values())
        require(sound, "counts", found["counts"], "whole numbers")
    except ValueError as error:
        raise BssError(f"{folder / PART}: damaged ({error}). {FIX}") from error
    return Part(folder, shard, found["counts"], found["bad_rows"])


def in_order(parts: Sequence[Part], data: str) -> list[Part]:
    """Return the parts, at least one, ordered by number.

    Raises `BssError` for all parts that are missing, duplicate, or not of the version `data`.
    """
    of = parts[0].shard.of
    found = Counter(part.shard.number for part in parts)
    problems = [f"{part.path}: one of {part.shard.of} shards, not of {of}" for part in parts if part.shard.of != of]
    problems += [f"shard {number} of {of} is missing" for number in range(of) if not found[number]]
    problems += [f"shard {number} of {of} exists {count} times" for number, count in found.items() if count > 1]
    problems += [
        f"{part.path}: holds the data {part.shard.data[:12]}, expected {data[:12]}"
        for part in parts
        if part.shard.data != data
    ]
    raise_problems("parts of the store", problems, FIX)
    return sorted(parts, key=lambda part: part.shard.number)
