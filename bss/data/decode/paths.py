"""Where a file of the manifest lies: inside the data root, whatever links there are; and that it is there."""

from pathlib import Path

from bss.data.decode.bad_sample import BadSampleError
from bss.data.decode.near_names import not_found


def inside(root: Path, name: str) -> Path:
    """Return ``root / name`` with links followed; `root` is resolved already.

    Raises `BadSampleError` where a link leaves the root, for links in a loop, and for a name that no file
    can have.
    """
    try:
        path = (root / name).resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise BadSampleError("not the name of a file") from error
    if not path.is_relative_to(root):
        raise BadSampleError("a link that leaves the data root")
    return path


def require_file(path: Path, root: Path) -> None:
    """Raise `BadSampleError` unless `path` is a file that holds something; files of `root` with like names are told."""
    try:
        found = path.is_file()
        empty = found and path.stat().st_size == 0
    except OSError as error:  # a name that is too long, a folder that may not be entered
        raise BadSampleError(f"not accessible ({error.strerror})") from error
    if not found:
        raise BadSampleError("a folder, not a file" if path.is_dir() else not_found(path, root))
    if empty:
        raise BadSampleError("file is empty (its copy or download was cut off: fetch it again)")
