"""Objects on S3 that are read where they lie: by ranges, in blocks that are read ahead and kept for a while."""

import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock

from rich.filesize import decimal

from bss.console import make_console
from bss.remote.object_store import connect, explain, read_object, split_url
from bss.remote.s3_files import READERS, StoredObject, one_version
from bss.remote.transfer import LINE_SECONDS

BLOCK = 8 << 20
"""Bytes of a block."""
AHEAD = 4
"""Blocks that are read ahead once two in a row were asked for."""
KEPT = 16
"""Blocks in memory, of all objects together: 128 MiB."""


@dataclass(frozen=True)
class ObjectFile:
    """One object, as `bss.data.raw_files` reads it."""

    blocks: "ObjectBlocks"
    name: str
    size: int

    def read(self, offset: int, size: int) -> bytes:
        """Return `size` bytes at `offset`, fewer at the end."""
        end = min(offset + size, self.size)
        parts = []
        for number in range(offset // BLOCK, -(-end // BLOCK)):
            start = number * BLOCK
            parts.append(self.blocks.read(self.name, number)[max(0, offset - start) : max(0, end - start)])
        return b"".join(parts)


class ObjectBlocks:
    """The blocks of the objects below `url`. Thread-safe."""

    def __init__(self, url: str, objects: Mapping[str, StoredObject], pool: ThreadPoolExecutor) -> None:
        self._url, self._objects, self._pool = url, objects, pool
        self._bucket, self._prefix = split_url(url)
        self._client = connect()
        self._lock = Lock()
        self._kept: OrderedDict[tuple[str, int], Future[bytes]] = OrderedDict()
        self._bytes, self._last_line = 0, time.monotonic()

    def file(self, name: str) -> ObjectFile:
        """Return an object as a file."""
        return ObjectFile(self, name, self._objects[name].size)

    def read(self, name: str, number: int) -> bytes:
        """Return a block; raise `BssError` as `download_objects` does."""
        with self._lock:
            in_a_row = (name, number - 1) in self._kept
            last = min(number + AHEAD if in_a_row else number, (self._objects[name].size - 1) // BLOCK)
            for wanted in range(last, number - 1, -1):  # the one asked for becomes the newest
                key = name, wanted
                if key not in self._kept:
                    self._kept[key] = self._pool.submit(self._fetch, *key)
                self._kept.move_to_end(key)
            found = self._kept[name, number]
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return found.result()

    def _fetch(self, name: str, number: int) -> bytes:
        wanted = self._objects[name]
        start, end = number * BLOCK, min((number + 1) * BLOCK, wanted.size)
        key, part = f"{self._prefix}/{name}".lstrip("/"), {"IfMatch": wanted.etag, "Range": f"bytes={start}-{end - 1}"}
        url = f"{self._url}/{name}"
        with explain(url), one_version(url):
            data = read_object(self._client, self._bucket, key, **part)
        self._report(len(data))
        return data

    def _report(self, size: int) -> None:
        """Print how much was read, now and then. No bar: another may be on the terminal."""
        with self._lock:
            self._bytes += size
            now = time.monotonic()
            if now - self._last_line < LINE_SECONDS:
                return
            self._last_line = now
        make_console().print(f"  reading: {decimal(self._bytes)}", highlight=False, markup=False)


@contextmanager
def object_blocks(url: str, objects: Mapping[str, StoredObject]) -> Iterator[ObjectBlocks]:
    """Yield the blocks of the objects below `url` (s3://bucket[/prefix]), which `list_objects` returned."""
    pool = ThreadPoolExecutor(READERS)
    try:
        yield ObjectBlocks(url, objects, pool)
    finally:
        pool.shutdown(cancel_futures=True)
