"""Checksums of the raw files that a store was made from."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bss.config.modalities import ModalityKind, TextKind
from bss.data.manifest import Sample
from bss.files import digest_file


def write_checksums(path: Path, root: Path, samples: list[Sample], kinds: dict[str, ModalityKind]) -> None:
    """Write the sha256 of every file that `samples` name, of a folder every file in it.

    Lines as `sha256sum` writes them, sorted by path: ``sha256sum --check`` in the data root compares.
    """
    of_files = [name for name, kind in kinds.items() if not (isinstance(kind, TextKind) and kind.source == "column")]
    named = {sample.files[name] for sample in samples for name in of_files}
    files = sorted({file for name in named for file in _files_of(root, name)})
    with ThreadPoolExecutor(os.cpu_count()) as pool, path.open("w", encoding="utf-8") as out:
        for name, digest in zip(files, pool.map(lambda name: digest_file(root / name), files), strict=True):
            out.write(f"{digest}  {name}\n")


def _files_of(root: Path, name: str) -> list[str]:
    path = root / name
    if not path.is_dir():
        return [name]
    return [file.relative_to(root).as_posix() for file in path.iterdir() if file.is_file()]
