"""Raw files by path, also those whose bytes are not on the disk: large tables and shards on S3 are read where they lie.

Of such a file the path leads to an empty one, so that names, patterns and links are checked as on the disk.
"""

import hashlib
import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Protocol


class DistantFile(Protocol):
    """A file that is not on the disk. Thread-safe."""

    @property
    def size(self) -> int:
        """Bytes."""

    def read(self, offset: int, size: int) -> bytes:
        """Return `size` bytes at `offset`, fewer at the end of the file."""


_distant: dict[Path, DistantFile] = {}


@contextmanager
def distant_files(files: Mapping[Path, DistantFile]) -> Iterator[None]:
    """Within the block, let the functions below read `files` in place of the empty files at their paths."""
    _distant.update(files)
    try:
        yield
    finally:
        for path in files:
            del _distant[path]


def is_distant(path: Path) -> bool:
    """Return whether a file is not on the disk."""
    return path in _distant


def open_raw(path: Path) -> IO[bytes]:
    """Open a raw file, for one thread."""
    return io.BufferedReader(_Stream(_distant[path])) if path in _distant else path.open("rb")


def read_raw(path: Path, offset: int, size: int) -> bytes:
    """Return `size` bytes at `offset` of a raw file, fewer at its end."""
    if path in _distant:
        return _distant[path].read(offset, size)
    with path.open("rb", buffering=0) as file:
        file.seek(offset)
        return file.read(size)


def digest_raw(path: Path) -> str:
    """Return the sha256 of a raw file's bytes as hex."""
    with open_raw(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]


class _Stream(io.RawIOBase):
    """A distant file for readers of files."""

    def __init__(self, file: DistantFile) -> None:
        self._file, self._at = file, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._file.size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def readinto(self, buffer: Any) -> int:
        data = self._file.read(self._at, len(buffer))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)
