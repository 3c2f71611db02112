"""DVC's cache folders of a project: with `cache.type symlink` its data is links into them."""

import functools
import threading
from pathlib import Path

_LOCK = threading.Lock()


def object_folders(project: Path) -> tuple[Path, ...]:
    """Return the cache folders of the DVC project that contains `project`; empty without one.

    The cache is the one that `dvc cache dir` prints, from .dvc/config, .dvc/config.local or the user's or system's
    configuration: objects of DVC 3 are in its files/md5, those of DVC 2 directly in it. Links are resolved.
    """
    with _LOCK:  # decoders call it from many threads at once
        return _object_folders(project)


@functools.cache
def _object_folders(project: Path) -> tuple[Path, ...]:
    if not any((folder / ".dvc").is_dir() for folder in (project, *project.parents)):
        return ()
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo(str(Repo.find_root(str(project)))) as repo:
            return tuple(Path(cache.path).resolve() for cache in (repo.cache.local, repo.cache.legacy) if cache)
    except (DvcException, OSError):
        return ()
