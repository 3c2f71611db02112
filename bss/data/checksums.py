"""Checksums of the raw files that a store was made from."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bss.config.modalities import ModalityKind, TextKind
from bss.data.manifest import Sample
from bss.files import digest_file


def write_checksums(path: Path, root: Path, samples: list[Sample], kinds: dict[str, ModalityKind]) -> None:
    """Write the sha256 of every file that `samples` name, of a folder every file in it.

    Lines as `sha256sum` writes them, sorted by path: ``sha256sum --check`` in the data root compares. Files that
    lie outside of `root`, behind a link, are left out.
    """
    of_files = [name for name, kind in kinds.items() if not (isinstance(kind, TextKind) and kind.source == "column")]
    named = {sample.files[name] for sample in samples for name in of_files}
    files = sorted({file for name in named for file in _files_of(root, name)})
    # Names of files are bytes, which need not be UTF-8.
    out = path.open("w", encoding="utf-8", errors="surrogateescape")
    with ThreadPoolExecutor(os.cpu_count()) as pool, out:
        for name, digest in zip(files, pool.map(lambda name: digest_file(root / name), files), strict=True):
            out.write(_line(digest, name))


def _files_of(root: Path, name: str) -> list[str]:
    path = root / name
    if not path.is_dir():
        return [name]
    real_root = root.resolve()
    inside = [file for file in path.iterdir() if file.is_file() and file.resolve().is_relative_to(real_root)]
    return [file.relative_to(root).as_posix() for file in inside]


def _line(digest: str, name: str) -> str:
    """Return a line of `sha256sum`, which marks names with a line break or a backslash in them."""
    escaped = name.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    return f"{'' if escaped == name else chr(92)}{digest}  {escaped}\n"
