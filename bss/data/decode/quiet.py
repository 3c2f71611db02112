"""Keep decoders' own notes, which name no file, off the terminal."""

import os
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

NOTES = re.compile(rb"\s*$|\[src/libmpg123/|Note: |Warning: (Xing|Encountered|Real)|\[[\w,]+ @ 0x[0-9a-f]+\]")
"""Line prefixes of libmpg123 and FFmpeg. File errors are reported by our decoders, with the file's name."""


@contextmanager
def without_notes() -> Iterator[None]:
    """Filter these lines from what C libraries write to this process's stderr; Python's own output passes."""
    sys.stderr.flush()
    kept = os.dup(2)
    out, into = os.pipe()
    python, sys.stderr = sys.stderr, os.fdopen(os.dup(kept), "w", buffering=1, errors="backslashreplace")
    os.dup2(into, 2)
    os.close(into)
    filtering = threading.Thread(target=_pass_on, args=(out, kept), daemon=True)
    filtering.start()
    try:
        yield
    finally:
        sys.stderr.close()
        sys.stderr = python
        os.dup2(kept, 2)  # the last writing end of the pipe: the thread ends
        filtering.join()
        os.close(kept)


def _pass_on(out: int, kept: int) -> None:
    with os.fdopen(out, "rb") as lines:
        for line in lines:
            if not NOTES.match(line):
                os.write(kept, line)
