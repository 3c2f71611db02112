"""Where a file of the manifest lies: inside the data root, whatever links there are."""

from pathlib import Path

from bss.data.decode.bad_sample import BadSampleError


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
