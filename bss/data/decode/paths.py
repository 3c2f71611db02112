"""Resolve manifest paths: check links, and that the file exists."""

import errno
import os
import re
import stat
from pathlib import Path

from bss.config.schema import Links
from bss.data.decode.bad_sample import BadSampleError
from bss.data.decode.near_names import not_found
from bss.data.dvc_objects import object_folders

OBJECT = re.compile("[0-9a-f]{2}/[0-9a-f]{30}")
"""Path of a file in DVC's cache: its MD5."""

LOOP = "a link that leads back to itself"


class LinkOutsideError(BadSampleError):
    """A link leads out of the data root."""


def boundary(root: Path, links: Links) -> Path:
    """Return the folder that links may not leave: `root`, or with `follow` the file system root."""
    return root if links == "inside" else Path(root.anchor)


def inside(root: Path, name: str, limit: Path | None = None) -> Path:
    """Return ``root / name`` after checking that neither the name nor a link leads out.

    A link may lead anywhere in `limit` (`root` if None), and to an object in the DVC cache of the project in the
    working directory: such an object is named by its content, so a link to it reveals nothing new. `root` and
    `limit` are already resolved. The path keeps its links, and with them the suffix that decoders rely on.

    Raises `LinkOutsideError` for a link that leads elsewhere, and `BadSampleError` for a name that leads out of
    `root`, for a link loop, and for an invalid file name.
    """
    path = root / name
    try:
        real = path.resolve()
    except RuntimeError as error:  # since Python 3.13 a loop is found by `require_file` alone
        raise BadSampleError(LOOP) from error
    except (OSError, ValueError) as error:
        raise BadSampleError("not a valid file name") from error
    if not Path(os.path.normpath(path)).is_relative_to(root):
        raise BadSampleError("a path that leaves the data root")
    if not (real.is_relative_to(limit or root) or _is_dvc_object(real)):
        raise LinkOutsideError(
            f"a link that leaves the data root, to {str(real)[:200]}. If you trust the links in these data, set "
            "prepare.links: follow (`bss init --links follow`)"
        )
    return path


def _is_dvc_object(path: Path) -> bool:
    folders = [folder for folder in object_folders(Path.cwd()) if path.is_relative_to(folder)]
    return any(OBJECT.fullmatch(path.relative_to(folder).as_posix()) for folder in folders)


def require_file(path: Path, root: Path) -> None:
    """Raise `BadSampleError` unless `path` is a non-empty file; the message suggests similar names in `root`."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise BadSampleError(not_found(path, root)) from None
    except OSError as error:  # also a name that is too long, a folder that may not be entered
        raise BadSampleError(LOOP if error.errno == errno.ELOOP else f"not accessible ({error.strerror})") from error
    if not stat.S_ISREG(found.st_mode):
        raise BadSampleError("a folder, not a file" if stat.S_ISDIR(found.st_mode) else not_found(path, root))
    if found.st_size == 0:
        raise BadSampleError("file is empty (its copy or download was cut off: fetch it again)")
