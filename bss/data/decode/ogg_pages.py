"""Ogg Vorbis streams with all sound in one page: FFmpeg finds neither their start nor their end.

The last page of a stream gives its number of samples; a decoder drops the rest of its last block (Vorbis I
specification, A.2). FFmpeg computes that from the previous page, and for a single page keeps up to a block too much or
drops 128 samples too many.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

HEADER = 27
"""Bytes of a page before its segment table."""
FIRST, LAST = 2, 4
"""Flags of a stream's first and last page."""
VORBIS = b"\x01vorbis"
"""Start of the first page of a Vorbis stream."""


class _Page(NamedTuple):
    flags: int
    granule: int
    """Samples of the stream up to the end of the page; 0 in header pages."""
    stream: bytes
    is_vorbis: bool
    """Whether it is the first page of a Vorbis stream."""


def count_streams(path: Path) -> tuple[int, int]:
    """Return the number of chained streams in the Ogg file, and how many are Vorbis in one page."""
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
    """Yield the pages up to the first invalid one."""
    with path.open("rb") as file:
        while len(head := file.read(HEADER)) == HEADER and head.startswith(b"OggS"):
            body = sum(file.read(head[26]))
            start = file.tell()
            is_vorbis = file.read(min(body, len(VORBIS))) == VORBIS
            yield _Page(head[5], int.from_bytes(head[6:14], "little"), head[14:18], is_vorbis)
            file.seek(start + body)
