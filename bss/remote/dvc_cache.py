"""Verify the objects in DVC's cache that this checkout uses against the digests in their names.

DVC trusts a file in its cache once it has written it. This detects corruption by a disk or a transfer
before the file is pushed or checked out.
"""

import logging
import shlex
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bss.console import make_console
from bss.errors import BssError, raise_problems
from bss.remote.transfer import TransferProgress

if TYPE_CHECKING:
    from dvc.repo import Repo

READERS = 4


class CachedObject(NamedTuple):
    """A file in the cache."""

    name: str
    """Path in this checkout."""
    kind: str
    """DVC's name of its digest algorithm."""
    digest: str
    path: Path


def check_cache(folder: Path) -> None:
    """Read all objects of the DVC repository at `folder` that dvc.lock and .dvc files name; print their number.

    Prints a warning for each stage input that neither DVC nor git tracks: `dvc push` leaves it out.
    A damaged object is removed from the cache, so that DVC fetches or recreates it. Raises
    `BssError` with all damaged and missing objects.
    """
    objects, unshared = _used(folder)
    for line in unshared:
        print(line, flush=True)
    missing = [f"{o.name}: {o.path} is missing" for o in objects if not o.path.is_file()]
    raise_problems(str(folder), missing, "Run `dvc repro` to create them, or `dvc fetch` to get them from the remote.")
    damaged = []
    with (
        TransferProgress("checking", "checked", len(objects), make_console()) as progress,
        ThreadPoolExecutor(READERS) as readers,
    ):
        for item, found in zip(objects, readers.map(_digest, objects), strict=True):
            progress.add_bytes(item.path.stat().st_size)
            progress.add_file()
            if found != item.digest:
                damaged.append(f"{item.name}: {item.path} has the md5 {found}")
                item.path.unlink()
    fix = (
        "They were removed from the cache. `make data-pull` fetches them again; if they are damaged on the remote too, "
        "delete them there and run `dvc repro --force` to recreate them."
    )
    raise_problems(str(folder), damaged, fix)


def _digest(item: CachedObject) -> str:
    from dvc_data.hashfile.hash import file_md5

    return str(file_md5(str(item.path), name=item.kind))


def _used(folder: Path) -> tuple[list[CachedObject], list[str]]:
    """Return the objects, and warnings about inputs that other clones do not get."""
    from dvc.repo import Repo

    logging.getLogger("dvc").setLevel(logging.ERROR)
    try:
        with Repo(str(folder)) as repo:
            caches = {"md5": repo.cache.local, "md5-dos2unix": repo.cache.legacy}
            found = {info for infos in repo.used_objs().values() for info in infos}
            objects = [
                CachedObject(
                    str(info.obj_name),
                    info.name,
                    info.value.removesuffix(".dir"),
                    Path(caches[info.name].oid_to_path(info.value)),
                )
                for info in found
            ]
            unshared = _unshared_inputs(repo)
    except Exception as error:
        raise BssError(f"{folder}: DVC cannot list what this checkout uses ({error}).") from error
    return sorted(objects), unshared


def _unshared_inputs(repo: "Repo") -> list[str]:
    """Return a warning for each stage input tracked by neither DVC nor git."""
    from dvc.scm import NoSCM

    if isinstance(repo.scm, NoSCM):
        return []
    outputs = [Path(out.fs_path) for out in repo.index.outs]
    root, warnings = Path(repo.root_dir), {}
    for dependency in repo.index.deps:
        if dependency.protocol != "local":
            continue
        path = Path(dependency.fs_path)
        # An output may be the input, contain it, or be one of its files.
        if any(path.is_relative_to(out) or out.is_relative_to(path) for out in outputs):
            continue
        if not path.is_relative_to(root):
            fix = "it is outside the repository, so every clone needs its own copy there."
        elif repo.scm.is_tracked(str(path)):
            continue
        else:
            name = path.relative_to(root).as_posix()
            fix = (
                f"neither DVC nor git tracks it, so other clones miss it. Run `dvc add {shlex.quote(name)}` in the "
                f"checkout that has it, commit {shlex.quote(f'{name}.dvc')}, then `make data-push`."
            )
        warnings[path] = f"Warning: {dependency.def_path}, read by the stage {dependency.stage.addressing}: {fix}"
    return list(warnings.values())
