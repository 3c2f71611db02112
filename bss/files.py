"""Folders and files that are written atomically, and their digests."""

import csv
import hashlib
import json
import math
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

from bss.errors import BssError, shown
from bss.full_disk import on_disk
from bss.in_blocks import map_in_blocks

SYNCED_AT_ONCE = 16
"""Files synced concurrently: a journalling file system commits them together, many times faster than one by one."""


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yield a fresh folder next to `path` to write into, and move it to `path` at the end.

    If the body raises, the old `path` stays and the unfinished folder is removed. Leftovers of a killed process
    are repaired or removed by the next one. The files are synced before their folder gets its name: a power
    cut leaves the old folder or the new one, never a new one with missing data.
    """
    restore_folder(path)
    unfinished = _unfinished(path)
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    try:
        with on_disk(path):
            yield unfinished
            sync_tree(unfinished)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    if path.is_dir():
        old = _replaced(path)
        path.rename(old)
        unfinished.rename(path)  # killed before this, the next run puts the old one back
        sync_folder(path.parent)
        shutil.rmtree(old)
    else:
        unfinished.rename(path)
        sync_folder(path.parent)


def restore_folder(path: Path) -> None:
    """Put back the folder that `whole_folder` moved aside, if a kill hit between its two renames."""
    old = _replaced(path)
    if not path.exists() and old.is_dir():
        old.rename(path)
    shutil.rmtree(old, ignore_errors=True)


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a file next to `path` to write, and move it to `path` at the end: an atomic write."""
    unfinished = _unfinished(path)
    try:
        with on_disk(path):
            yield unfinished
            _sync_file(unfinished)
            unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_tree(folder: Path) -> None:
    """Sync `folder` and all files and folders below it to disk."""
    walked = list(os.walk(folder, topdown=False))
    with ThreadPoolExecutor(SYNCED_AT_ONCE) as pool:
        map_in_blocks(pool, _sync_file, [Path(parent, name) for parent, _, names in walked for name in names])
    for parent, _, _ in walked:
        sync_folder(Path(parent))


def _sync_file(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Sync the names in `folder` to disk; do nothing if folders cannot be synced."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError:  # not on every network file system
        pass
    finally:
        os.close(handle)


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Keep other processes from writing `path`, until the block or the process ends.

    Raises `BssError` if another process holds it.
    """
    import fcntl

    lock = path.with_name(f".{path.name}.lock")
    lock.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with lock.open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise BssError(
                    f"{path}: another process is writing it. Wait until it ends, or stop it; `fuser {lock}` shows "
                    "which one."
                ) from error
            # The previous holder removes its file when it ends, perhaps between our open and our lock.
            if not lock.exists() or lock.stat().st_ino != os.fstat(file.fileno()).st_ino:
                continue
            try:
                yield
            finally:
                lock.unlink(missing_ok=True)
            return


def require_new(path: Path) -> None:
    """Raise `BssError` if a new folder at `path` would replace anything."""
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise BssError(f"{path}: already exists and would be replaced. Remove it, or choose a new folder.")


def scratch_of(path: Path) -> Path:
    """Return the folder that `scratch_folder` gives for `path`."""
    return path.with_name(f".{path.name}.scratch")


@contextmanager
def scratch_folder(path: Path) -> Iterator[Path]:
    """Yield a fresh folder next to `path` for the block; one left by a killed process is replaced."""
    scratch = scratch_of(path)
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def remove_unfinished(path: Path) -> None:
    """Clean up after a `whole_folder` at `path` whose process was killed."""
    restore_folder(path)
    shutil.rmtree(_unfinished(path), ignore_errors=True)


def _unfinished(path: Path) -> Path:
    return path.with_name(f".{path.name}.unfinished")


def _replaced(path: Path) -> Path:
    return path.with_name(f".{path.name}.replaced")


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON; raise for NaN and infinity."""
    path.write_text(json.dumps(value, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def read_json(path: Path, made_by: str, keys: Mapping[str, type] = MappingProxyType({})) -> dict[str, Any]:
    """Read a JSON object that the stage `made_by` wrote, with a value of its type under each of `keys`.

    Raises `BssError` if it is missing or damaged, or has a duplicate key or a number that is not finite.
    """
    try:
        value = json.loads(
            path.read_text(encoding="utf-8"),
            parse_constant=_finite,
            parse_float=_finite,
            object_pairs_hook=_without_repetition,
        )
        if not isinstance(value, dict):
            raise ValueError(f"expected a JSON object, found a {type(value).__name__}")
        for key, kind in keys.items():
            if not isinstance(value.get(key), kind) or (kind is not bool and isinstance(value[key], bool)):
                raise ValueError(f"{key} is {shown(value[key])}" if key in value else f"{key} is missing")
    except FileNotFoundError as error:
        raise BssError(f"{path}: not found. Run `bss {made_by}` (or `dvc repro`) first.") from error
    except (OSError, ValueError, RecursionError) as error:
        raise BssError(f"{path}: damaged ({error}). Run `bss {made_by}` again.") from error
    return value


def _finite(text: str) -> float:
    """Return the number in JSON's `text`; Python's reader would accept NaN, Infinity and 1e999."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:20]} is not a finite number")
    return number


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError(f"duplicate key among {shown(list(found))}")
    return found


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write one or more rows as CSV; the columns are those of all rows, in order of appearance."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def digest_file(path: Path) -> str:
    """Return the sha256 of the file's bytes as hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_folder(path: Path) -> str:
    """Return the sha256 over the names and contents of all files below `path`."""
    files = sorted(file for file in path.rglob("*") if file.is_file())
    return digest_json({file.relative_to(path).as_posix(): digest_file(file) for file in files})


def digest_json(value: Any) -> str:
    """Return the sha256 of `value` as JSON with sorted keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
