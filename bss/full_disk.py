"""Turn ENOSPC and OS path errors into messages that name the path."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bss.errors import BssError

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""No space, no quota, no room for a file of this size."""


def full_disk(error: OSError, path: Path | None = None, wanted: int | None = None) -> BssError | None:
    """Return the message for a full disk while writing `wanted` bytes to `path`; None for other errors."""
    if error.errno not in FULL:
        return None
    place = path or (Path(str(error.filename)) if error.filename else Path.cwd())
    there = next((folder for folder in (place, *place.absolute().parents) if folder.exists()), Path("/"))
    size = "" if wanted is None else f" ({wanted:,} bytes needed)"
    return BssError(
        f"{place}: cannot write: {os.strerror(error.errno)}{size}; {shutil.disk_usage(there).free:,} bytes are "
        "free. Nothing was overwritten. Free some space and rerun the same command."
    )


def system_error(error: OSError) -> BssError | None:
    """Return the message for a full disk or a path that the system refuses; None if `error` names no path."""
    known = full_disk(error)
    if known is None and error.filename is not None and error.strerror is not None:
        known = BssError(f"{error.filename}: cannot be read or written ({error.strerror}).")
    return known


@contextmanager
def on_disk(path: Path, wanted: int | None = None) -> Iterator[None]:
    """Turn a full disk into a `BssError` that names `path`, and how many bytes were `wanted`."""
    try:
        yield
    except OSError as error:
        known = full_disk(error, path, wanted)
        if known is None:
            raise
        raise known from error
