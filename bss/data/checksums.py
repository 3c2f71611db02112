"""Checksums of the raw files behind a store."""

import heapq
import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from itertools import groupby
from pathlib import Path
from typing import IO

from bss.config.modalities import ModalityKind, TextKind
from bss.config.schema import Links
from bss.data.decode.bad_sample import BadSampleError
from bss.data.decode.paths import boundary, inside
from bss.data.embedded.contents import Contents
from bss.data.raw_files import digest_raw, is_distant
from bss.data.rows import Sample
from bss.errors import BssError
from bss.in_blocks import map_in_blocks


def write_checksums(
    path: Path,
    root: Path,
    samples: list[Sample],
    kinds: dict[str, ModalityKind],
    links: Links = "inside",
    contents: Contents | None = None,
) -> dict[str, str]:
    """Write the sha256 of every file that `samples` name; of a folder, of every file in it. Return it by name.

    Of files inside others, which `contents` lists, those others are written.

    The lines have the format of `sha256sum`, sorted by path: run ``sha256sum --check`` in the data root. Files
    behind links that `links` does not follow are left out.
    """
    of_files = [name for name, kind in kinds.items() if not (isinstance(kind, TextKind) and kind.source == "column")]
    named = {sample.files[name] for sample in samples for name in of_files}
    if contents is not None:
        named = {name for name in named if name not in contents} | set(contents.containers)
    files = sorted({file for name in named for file in _files_of(root, name, links)})
    one_by_one = any(is_distant(root / name) for name in files)  # each of them is read ahead
    with ThreadPoolExecutor(1 if one_by_one else os.cpu_count()) as pool:
        digests = dict(zip(files, map_in_blocks(pool, lambda name: digest_raw(root / name), files), strict=True))
    with _open(path, "w") as out:
        out.writelines(_line(digest, name) for name, digest in digests.items())
    return digests


def join_checksums(parts: Sequence[Path], path: Path) -> None:
    """Merge the files `parts`, written by `write_checksums`, into one.

    Raises `BssError` if two have different checksums for one raw file: it changed in between.
    """
    with ExitStack() as stack:
        opened = [stack.enter_context(_open(part, "r")) for part in parts]
        out = stack.enter_context(_open(path, "w"))
        for name, lines in groupby(heapq.merge(*opened, key=_name_in), _name_in):
            first, *others = set(lines)
            if others:
                raise BssError(
                    f"{name}: changed while the data was being prepared; two parts of the store have different "
                    "checksums of it. Rerun the pipeline without its cache, and do not change the data meanwhile."
                )
            out.write(first)


def read_checksums(path: Path) -> dict[str, str]:
    """Return the sha256 of each file by name, as written by `write_checksums`; raise `BssError` if there are none."""
    try:
        with _open(path, "r") as lines:
            return {_name_in(line): line.lstrip("\\")[:64] for line in lines}
    except OSError as error:
        raise BssError(f"{path}: cannot be read ({error.strerror}). Run `bss prepare` again.") from error


def _open(path: Path, mode: str) -> IO[str]:
    # File names are bytes and need not be UTF-8.
    return path.open(mode, encoding="utf-8", errors="surrogateescape")


def _files_of(root: Path, name: str, links: Links) -> list[str]:
    path = root / name
    if not path.is_dir():
        return [name]
    real, found = root.resolve(), []
    for file in path.iterdir():
        with suppress(BadSampleError):
            below = file.relative_to(root).as_posix()
            if inside(real, below, boundary(real, links)).is_file():
                found.append(below)
    return found


def _line(digest: str, name: str) -> str:
    """Return a line in the format of `sha256sum`, which escapes names with a line break or a backslash."""
    escaped = name.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    return f"{'' if escaped == name else chr(92)}{digest}  {escaped}\n"


def _name_in(line: str) -> str:
    """Return the file name in a line of `_line`."""
    name = line.rstrip("\n").partition("  ")[2]
    if not line.startswith("\\"):
        return name
    return re.sub(r"\\(.)", lambda found: {"n": "\n", "r": "\r"}.get(found[1], found[1]), name)
