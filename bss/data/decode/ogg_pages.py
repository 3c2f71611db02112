"""Ogg Vorbis streams whose sound lies in one page: FFmpeg finds neither their start nor their end.

The last page of a stream tells how many samples it has; a decoder drops the rest of its last block (Vorbis I
specification, A.2). FFmpeg measures that from the page before, and of a single page keeps up to a block too much or
drops 128 samples too many.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

HEADER = 27
"""Bytes of a page before its table of segments."""
FIRST, LAST = 2, 4
"""Flags of a stream's first and last page."""
VORBIS = b"\x01vorbis"
"""Begins the first page of a Vorbis stream."""


class _Page(NamedTuple):
    flags: int
    granule: int
    """Samples of the stream up to the end of the page; 0 in pages of headers."""
    stream: bytes
    is_vorbis: bool
    """Whether it is the first one of a Vorbis stream."""


def count_streams(path: Path) -> tuple[int, int]:
    """Return how many streams the Ogg file has, one after the other, and how many are Vorbis in one page."""
    streams = short = 0
    waiting: set[bytes] = set()
    for page in _pages(path):
        if page.flags & FIRST:
            streams += 1
            if page.is_vorbis:
                waiting.add(page.stream)
        elif page.stream in waiting and page.granule:
            waiting.remove(page.stream)
            short += bool(page.flags & LAST)
    return streams, short


def _pages(path: Path) -> Iterator[_Page]:
    """Yield the pages up to the first place that is no page."""
    with path.open("rb") as file:
        while len(head := file.read(HEADER)) == HEADER and head.startswith(b"OggS"):
            body = sum(file.read(head[26]))
            start = file.tell()
            is_vorbis = file.read(min(body, len(VORBIS))) == VORBIS
            yield _Page(head[5], int.from_bytes(head[6:14], "little"), head[14:18], is_vorbis)
            file.seek(start + body)
