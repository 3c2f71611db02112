"""Compressed shards, unpacked into temporary files: a compressed stream cannot be read from its middle."""

import gzip
import os
import tempfile
import zlib
from collections import OrderedDict
from contextlib import ExitStack
from pathlib import Path
from threading import Lock
from typing import IO, Any
from weakref import finalize

from bss.data.manifest_files import PLAIN_SHARD
from bss.data.raw_files import open_raw, read_raw
from bss.data.table_contents import held_instead
from bss.errors import BssError
from bss.full_disk import on_disk

KEPT = 4
"""Unpacked shards on disk at once: samples are decoded in the order of the shards, by a few threads."""
BLOCK = 4096
"""Bytes unpacked at once: at most so many before the cut of a stream are lost."""


class Tars:
    """Opens shards, unpacked if they are compressed. Thread-safe."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._files: OrderedDict[Path, IO[bytes]] = OrderedDict()
        self._open = ExitStack()
        finalize(self, self._open.close)
        self.cut: dict[Path, str] = {}
        """Opened compressed shards that end too early, and why."""

    def index(self, path: Path) -> IO[bytes]:
        """Return the tar file to be read by one thread; the caller closes it.

        A truncated archive yields the part that could be decompressed, and is recorded in `cut`. Raises `BssError` for
        a damaged one: there is no telling which of its bytes are right.
        """
        if path.name.endswith(PLAIN_SHARD):
            return open_raw(path)
        with self._lock:
            file = os.fdopen(os.dup(self._unpacked(path).fileno()), "rb")
        file.seek(0)
        return file

    def read(self, path: Path, offset: int, size: int) -> bytes:
        """Return `size` bytes at `offset` of the tar file."""
        if path.name.endswith(PLAIN_SHARD):
            return read_raw(path, offset, size)
        with self._lock:  # no other thread may remove it meanwhile
            return os.pread(self._unpacked(path).fileno(), size, offset)

    def _unpacked(self, path: Path) -> IO[bytes]:
        file = self._files.pop(path, None)
        if file is None:
            while len(self._files) >= KEPT:
                self._files.popitem(last=False)[1].close()
            file = self._open.enter_context(tempfile.TemporaryFile(prefix="bss-"))  # noqa: SIM115 - closed by it
            self._unpack(path, file)
        self._files[path] = file
        return file

    def _unpack(self, path: Path, target: IO[bytes]) -> None:
        with on_disk(Path(tempfile.gettempdir())):
            try:
                with open_raw(path) as packed, _stream(path, packed) as stream:
                    while block := stream.read1(BLOCK):  # `read` would lose what comes just before a cut
                        target.write(block)
            except (EOFError, zlib.error, OSError) as error:
                if getattr(error, "errno", None) is not None:  # of the disk, not of the data
                    raise
                if not isinstance(error, EOFError) and "Truncated" not in str(error):
                    held = held_instead(path)
                    why = str(error)[:100] if not held or "gzip" in held else held
                    raise BssError(f"{path}: not a readable shard ({why}). Fetch it again.") from error
                self.cut[path] = "its compressed data end too early"
        target.flush()


def _stream(path: Path, packed: IO[bytes]) -> Any:
    """Open the decompressed data of a shard, from its compressed ones."""
    if path.name.endswith(".zst"):
        import pyarrow

        return pyarrow.CompressedInputStream(pyarrow.PythonFile(packed), "zstd")
    return gzip.open(packed)
