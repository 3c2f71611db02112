"""Which paths of a data set name the same file: by content, whatever their spelling, links and copies."""

import hashlib
import os
import posixpath
import stat
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from bss.config.modalities import ModalityKind, TextKind
from bss.config.schema import Links
from bss.data.decode.bad_sample import BadSampleError
from bss.data.decode.frame_source import ImageFolder
from bss.data.decode.paths import boundary, inside
from bss.data.rows import Sample
from bss.data.store import SPLITS
from bss.errors import raise_problems
from bss.files import digest_file

BLOCK = 4096
"""Bytes that are read at the start, in the middle and at the end of files of one size, before they are read whole."""

Keys = Mapping[str, str]
"""Path as the manifest has it to a path that stands for the file: two paths have the same where they name one file."""


@dataclass(frozen=True)
class _File:
    path: Path
    node: tuple[int, int]
    """Device and number: what the file system takes as one file has the same."""
    size: int


@dataclass(frozen=True)
class _Item:
    """A file, or a folder of images in order of their names."""

    names: list[str]
    """All paths that lead to it."""
    files: tuple[_File, ...]


def file_keys(root: Path, names: Iterable[str], may_share: Sequence[str] = (), links: Links = "inside") -> Keys:
    """Return which of the paths `names` below `root` name the same file.

    Files are the same where their bytes are: names that the file system takes as one, links and copies. A folder of
    images is one thing, the same as another with the same images in the same order; that two folders have some image in
    common, such as a black one, makes them no more alike. Paths that lead nowhere are compared by their names. Files of
    which `may_share` names one are left out. Reads no file whole but those that agree with another in size and in three
    blocks. Raises `BssError` for a path of `may_share` that is none.
    """
    real_root = root.resolve()
    limit = boundary(real_root, links)
    distinct = sorted({*names, *may_share})
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = dict(zip(distinct, pool.map(lambda name: _files_of(real_root, name, limit), distinct), strict=True))
        missing = [f"{name!r} is no file in {root}" for name in may_share if not found[name]]
        raise_problems("params.yaml: prepare.shared_files", missing, "Name files relative to prepare.root.")
        items = _merged_links(found)
        groups = [items] if items else []
        for look in (_sizes, _blocks, _digest):
            groups = [part for group in groups for part in _divided(group, look, pool)]
    keys = {name: posixpath.normpath(name) for name in distinct}
    for group in groups:
        same = [name for item in group for name in item.names]
        keys |= dict.fromkeys(same, min(same))
    allowed = {keys[name] for name in may_share}
    return {name: key for name, key in keys.items() if key not in allowed}


def named_files(samples: Iterable[Sample], kinds: Mapping[str, ModalityKind]) -> Iterable[str]:
    """Yield the paths that samples name; a text is no file, wherever it stands: two samples may well have the same."""
    of_files = file_modalities(kinds)
    return (sample.files[name] for sample in samples for name in of_files)


def file_modalities(kinds: Mapping[str, ModalityKind]) -> list[str]:
    """Return the modalities whose files may not be in two splits: all but texts."""
    return [name for name, kind in kinds.items() if not isinstance(kind, TextKind)]


def keys_of(files: Mapping[str, str], modalities: Iterable[str], keys: Keys) -> frozenset[str]:
    """Return the keys of one sample, whose paths are `files`."""
    return frozenset(keys[files[name]] for name in modalities if files[name] in keys)


def files_in_two_splits(samples: Iterable[Sample], kinds: Mapping[str, ModalityKind], keys: Keys) -> list[str]:
    """Return a line for each file that more than one split has, with a row of each."""
    of_files = file_modalities(kinds)
    seen: dict[str, dict[str, tuple[int, str]]] = defaultdict(dict)
    for sample in samples:
        for path in (sample.files[name] for name in of_files):
            if path in keys:
                seen[keys[path]].setdefault(sample.split, (sample.row, path))
    return [_told(rows) for rows in seen.values() if len(rows) > 1]


def _told(rows: Mapping[str, tuple[int, str]]) -> str:
    paths = {path for _, path in rows.values()}
    splits = [split for split in SPLITS if split in rows]
    if len(paths) == 1:
        where = " and ".join(f"{split} (row {rows[split][0]})" for split in splits)
        return f"file {paths.pop()[:200]!r} is in {where}"
    files = [f"{rows[split][1][:200]!r} in {split} (row {rows[split][0]})" for split in splits]
    return " and ".join(files) + " are one file"


def _files_of(root: Path, name: str, limit: Path) -> tuple[_File, ...]:
    """Return the file that a path names, or the images of its folder; none where there is nothing to read."""
    try:
        path = inside(root, name, limit)
        status = path.stat()
        if not stat.S_ISDIR(status.st_mode):
            found = [(path, status)]
        else:
            images = [inside(root, str(file), limit) for file in ImageFolder(path, limit).files]
            found = [(image, image.stat()) for image in images]
    except (BadSampleError, OSError):
        return ()
    if not all(stat.S_ISREG(status.st_mode) and status.st_size for _, status in found):
        return ()
    return tuple(_File(file, (status.st_dev, status.st_ino), status.st_size) for file, status in found)


def _merged_links(found: Mapping[str, tuple[_File, ...]]) -> list[_Item]:
    """Return an item for each file or folder that there is, with all paths that the file system takes as one."""
    items: dict[Hashable, _Item] = {}
    for name, files in found.items():
        if files:
            nodes = tuple(file.node for file in files)
            items.setdefault(nodes, _Item([], files)).names.append(name)
    return list(items.values())


def _divided(group: list[_Item], look: Callable[[_Item], Hashable], pool: ThreadPoolExecutor) -> list[list[_Item]]:
    """Return the items of a group by what `look` sees of them; one alone is not looked at."""
    if len(group) < 2:
        return [group]
    parts: dict[Hashable, list[_Item]] = {}
    for item, seen in zip(group, pool.map(lambda item: _seen(item, look), group), strict=True):
        parts.setdefault(seen, []).append(item)
    return list(parts.values())


def _seen(item: _Item, look: Callable[[_Item], Hashable]) -> Hashable:
    try:
        return look(item)
    except OSError:  # decoding it will say so; here it is like no other
        return item.names[0]


def _sizes(item: _Item) -> Hashable:
    return tuple(file.size for file in item.files)


def _blocks(item: _Item) -> Hashable:
    seen = hashlib.sha256()
    for file in item.files:
        with file.path.open("rb", buffering=0) as opened:
            for start in (0, file.size // 2, max(0, file.size - BLOCK)):
                opened.seek(start)
                seen.update(opened.read(BLOCK))
    return seen.digest()


def _digest(item: _Item) -> Hashable:
    return tuple(digest_file(file.path) for file in item.files)
