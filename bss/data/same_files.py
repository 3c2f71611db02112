"""Find paths that name the same file by content, regardless of spelling, links and copies."""

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
from bss.data.embedded.contents import Contents
from bss.data.rows import Sample
from bss.data.store import SPLITS
from bss.errors import raise_problems
from bss.files import digest_file
from bss.in_blocks import map_in_blocks

BLOCK = 4096
"""Bytes compared at the start, middle and end of files of equal size, before they are read completely."""

Keys = Mapping[str, str]
"""Maps a manifest path to the path that represents its file: equal for two paths if they name the same file."""


@dataclass(frozen=True)
class _File:
    path: Path
    node: tuple[int, int]
    """Device and inode: equal if the file system sees one file."""
    size: int


@dataclass(frozen=True)
class _Item:
    """A file, or a folder of images in name order."""

    names: list[str]
    """All paths to it."""
    files: tuple[_File, ...]


def file_keys(
    root: Path,
    names: Iterable[str],
    may_share: Sequence[str] = (),
    links: Links = "inside",
    contents: Contents | None = None,
) -> Keys:
    """Return which of the paths `names` below `root` name the same file.

    Files are the same if their bytes are: spellings of one name, links and copies. A folder of
    images is one item, the same as another with the same images in the same order; two folders that share some image,
    such as a black one, are still different. Paths of missing files are compared by name. Files of
    `may_share` are left out. Reads a file completely only if it matches another in size and in three
    blocks. Addresses in `contents` are compared with each other, by content too. Raises `BssError` for an invalid
    path in `may_share`.
    """
    names = list(names)
    inner = {} if contents is None else contents.same([*names, *may_share])
    names, of_root = ([name for name in some if name not in inner] for some in (names, may_share))
    real_root = root.resolve()
    limit = boundary(real_root, links)
    distinct = sorted({*names, *of_root})
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        files = map_in_blocks(pool, lambda name: _files_of(real_root, name, limit), distinct)
        found = dict(zip(distinct, files, strict=True))
        missing = [f"{name!r} is not a file in {root}" for name in of_root if not found[name]]
        raise_problems("params.yaml: prepare.shared_files", missing, "Give paths relative to prepare.root.")
        items = _merged_links(found)
        groups = _parted(items, map(_sizes, items))
        for look in (_blocks, _digest):
            groups = [part for group in groups for part in _divided(group, look, pool)]
    keys = {name: posixpath.normpath(name) for name in distinct}
    for group in groups:
        same = [name for item in group for name in item.names]
        keys |= dict.fromkeys(same, min(same))
    keys |= inner
    allowed = {keys[name] for name in may_share}
    return {name: key for name, key in keys.items() if key not in allowed}


def named_files(samples: Iterable[Sample], kinds: Mapping[str, ModalityKind]) -> Iterable[str]:
    """Yield the paths that samples name; texts do not count, even in files: two samples may have the same text."""
    of_files = file_modalities(kinds)
    return (sample.files[name] for sample in samples for name in of_files)


def file_modalities(kinds: Mapping[str, ModalityKind]) -> list[str]:
    """Return the modalities whose files must not be in two splits: all except texts."""
    return [name for name, kind in kinds.items() if not isinstance(kind, TextKind)]


def keys_of(files: Mapping[str, str], modalities: Iterable[str], keys: Keys) -> frozenset[str]:
    """Return the keys of one sample's paths `files`."""
    return frozenset(keys[files[name]] for name in modalities if files[name] in keys)


def files_in_two_splits(samples: Iterable[Sample], kinds: Mapping[str, ModalityKind], keys: Keys) -> list[str]:
    """Return a line for each file in more than one split, with a row of each."""
    of_files = file_modalities(kinds)
    seen: dict[str, dict[str, tuple[int, str]]] = defaultdict(dict)
    for sample in samples:
        for path in (sample.files[name] for name in of_files):
            if path in keys:
                seen[keys[path]].setdefault(sample.split, (sample.row, path))
    return [_problem(rows) for rows in seen.values() if len(rows) > 1]


def _problem(rows: Mapping[str, tuple[int, str]]) -> str:
    paths = {path for _, path in rows.values()}
    splits = [split for split in SPLITS if split in rows]
    if len(paths) == 1:
        where = " and ".join(f"{split} (row {rows[split][0]})" for split in splits)
        return f"file {paths.pop()[:200]!r} is in {where}"
    files = [f"{rows[split][1][:200]!r} in {split} (row {rows[split][0]})" for split in splits]
    return " and ".join(files) + " are one file"


def _files_of(root: Path, name: str, limit: Path) -> tuple[_File, ...]:
    """Return the file that a path names, or the images of its folder; empty if there are none."""
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
    """Return an item for each existing file or folder, with all paths that the file system treats as one."""
    items: dict[Hashable, _Item] = {}
    for name, files in found.items():
        if files:
            nodes = tuple(file.node for file in files)
            items.setdefault(nodes, _Item([], files)).names.append(name)
    return list(items.values())


def _divided(group: list[_Item], look: Callable[[_Item], Hashable], pool: ThreadPoolExecutor) -> list[list[_Item]]:
    """Partition a group of items by `look`, which is not called for a single item."""
    if len(group) < 2:
        return [group]
    return _parted(group, map_in_blocks(pool, lambda item: _seen(item, look), group))


def _parted(group: list[_Item], seen: Iterable[Hashable]) -> list[list[_Item]]:
    """Partition a group of items by what was seen of each."""
    parts: dict[Hashable, list[_Item]] = {}
    for item, value in zip(group, seen, strict=True):
        parts.setdefault(value, []).append(item)
    return list(parts.values())


def _seen(item: _Item, look: Callable[[_Item], Hashable]) -> Hashable:
    try:
        return look(item)
    except OSError:  # decoding will report it; here it matches no other
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
