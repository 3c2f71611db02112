"""A git repository with data under DVC at one commit, opened for reading; cleans up after itself.

Import it lazily: DVC takes a second.
"""

import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dvc.api import DVCFileSystem
from dvc.repo import Repo
from dvc.scm import SCM, clone, resolve_rev
from dvc_data.hashfile.hash import file_md5
from dvc_data.hashfile.hash_info import HashInfo
from dvc_data.hashfile.tree import Tree
from fsspec.callbacks import Callback

from bss.errors import BssError
from bss.files import digest_json
from bss.redact import redact
from bss.remote.transfer import TransferProgress

CHECKABLE = ("md5", "md5-dos2unix")
"""DVC's names of file digests: those of version 3, and of earlier versions."""


TIMEOUTS = {"connect_timeout": 5, "read_timeout": 10}
"""Timeout in seconds for S3 remotes that set none: gives up on a silent one within two minutes."""


@dataclass(frozen=True)
class TrackedFile:
    """A file of the dataset."""

    name: str
    """Path relative to the dataset's folder."""
    kind: str
    """`git` for a file tracked by git itself, otherwise DVC's name of its digest."""
    digest: str


class TrackedFolder:
    """The folder at `path` of an opened repository; its methods raise `BssError` on any failure."""

    def __init__(self, source: DVCFileSystem, path: str, where: str) -> None:
        self.path, self.where = path, where
        self._source = source
        with self._explained():
            try:
                info = source.info(path)
            except FileNotFoundError as error:
                raise BssError(
                    f"{where}: no such folder in this revision. Give a folder tracked by DVC or git."
                ) from error
        if info["type"] != "directory":
            raise BssError(f"{where}: is a file. Give its folder.")
        entry = (info.get("dvc_info") or {}).get("entry")
        self.dvc_digest = None if entry is None or entry.hash_info is None else str(entry.hash_info.value)
        """DVC's digest of the folder; None if DVC does not track the folder itself."""

    def list_files(self) -> list[TrackedFile]:
        """Return the folder's files sorted by name; for a DVC-tracked folder, the list is on the remote."""
        with self._explained():
            found = self._source.find(self.path, detail=True)
        root = "" if self.path == "." else self.path
        names = {name.removeprefix("./").removeprefix(root).strip("/"): info for name, info in found.items()}
        # The list comes from the remote, and its names become local file names.
        outside = [name for name in names if not name or "\0" in name or {"", ".", ".."} & set(name.split("/"))]
        if outside:
            raise BssError(f"{self.where}: its file list names {outside[0]!r}, which is outside the folder.")
        return [self._tracked(name, names[name]) for name in sorted(names)]

    def copy(self, target: Path, progress: TransferProgress) -> None:
        """Write the folder's files into `target`, which must not exist."""
        with self._explained():
            self._source.get(self.path, str(target), recursive=True, callback=_Counting(progress))

    def _tracked(self, name: str, info: dict[str, Any]) -> TrackedFile:
        if info.get("fs_info"):
            return TrackedFile(name, "git", str(info["fs_info"]["sha"]))
        hash_info = info["dvc_info"]["entry"].hash_info
        if hash_info is None or hash_info.name not in CHECKABLE:
            raise BssError(f"{self.where}: the repository has no md5 for {name}. Track it with `dvc add`.")
        return TrackedFile(name, hash_info.name, str(hash_info.value))

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except BssError:
            raise
        except Exception as error:  # DVC, the remote's client and the network raise many types
            remote = _describe_remote(self._source.repo.config)
            raise BssError(
                f"{self.where}: {': '.join(_reasons(error)[:2])}\nThe data is on {remote}. Check that it accepts "
                "this environment's credentials, and that this version was pushed there (`dvc push`)."
            ) from error


def digest_files(files: list[TrackedFile], as_dvc: bool) -> str:
    """Return the digest of a file list: DVC's digest of such a folder, or our own."""
    if not as_dvc:
        return digest_json({file.name: [file.kind, file.digest] for file in files})
    tree = Tree()
    for file in files:
        tree.add(tuple(file.name.split("/")), None, HashInfo(file.kind, file.digest))
    tree.digest()
    return str(tree.oid)


def digest_as(file: TrackedFile, path: Path) -> str:
    """Return the digest of the file at `path` with the algorithm of `file`'s digest."""
    return str(file_md5(str(path), name=file.kind))


@contextmanager
def open_folder(repository: str, revision: str, path: str) -> Iterator[tuple[TrackedFolder, str]]:
    """Yield the folder at `path` in `revision` (branch, tag, commit; empty: the default branch) and the full commit.

    A remote repository is cloned into a temporary folder, which is removed after the block together with DVC's
    cache; a local one is read in place, with its own configuration and cache. Raises `BssError`
    if the repository, the revision or the folder cannot be opened.
    """
    logging.getLogger("dvc").setLevel(logging.ERROR)
    _set_defaults()
    where = f"{redact(repository)}{f' at {revision}' if revision else ''}, {path}"
    with tempfile.TemporaryDirectory(prefix="bss-", ignore_cleanup_errors=True) as temporary:
        root = _root(repository, Path(temporary))
        commit = _resolve(repository, root, revision)
        config: dict[str, Any] = {
            "cache": {"type": "reflink,copy"},  # never links into a cache
            "core": {"site_cache_dir": str(Path(temporary, "site"))},
        }
        if root != repository:
            config["cache"]["dir"] = str(Path(temporary, "cache"))
        with _open_repository(root, commit, config, where) as repo:
            yield TrackedFolder(DVCFileSystem(repo=repo), path, where), commit


def _open_repository(root: str, commit: str, config: dict[str, Any], where: str) -> Repo:
    try:
        repo = Repo(root, rev=commit, uninitialized=True, config=config)
    except Exception as error:
        raise BssError(f"{where}: DVC cannot open the repository ({_reasons(error)[0]}).") from error
    for remote in repo.config["remote"].values():
        if str(remote.get("url", "")).startswith("s3://"):
            for name, seconds in TIMEOUTS.items():
                remote.setdefault(name, seconds)
    return repo


def _set_defaults() -> None:
    """Try an S3 remote twice, not 25 times, and allow a missing git program; the user's settings win.

    The client retries five times with growing pauses, and each retry makes this many attempts.
    """
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")  # only one backend needs git; the others still work
    os.environ.setdefault("AWS_RETRY_MODE", "standard")
    os.environ.setdefault("AWS_MAX_ATTEMPTS", "2")


def _root(repository: str, temporary: Path) -> str:
    """Return the repository's folder: itself, or a fresh clone below `temporary`."""
    if Path(repository, ".git").exists():
        return repository
    target = str(temporary / "clone")
    try:
        clone(repository, target).close()
    except Exception as error:
        raise BssError(
            f"{redact(repository)}: cannot be cloned ({_reasons(error)[-1]}). Give the path of a git repository, or a "
            "URL that `git clone` accepts here."
        ) from error
    return target


def _resolve(repository: str, root: str, revision: str) -> str:
    scm = SCM(root)
    try:
        return str(resolve_rev(scm, revision or "HEAD"))
    except Exception as error:
        remote = [name.removeprefix("refs/remotes/origin/") for name in scm.iter_refs("refs/remotes/origin/")]
        known = ", ".join([*sorted({*scm.list_branches(), *remote} - {"HEAD"}), *scm.list_tags()][:20])
        raise BssError(
            f"{redact(repository)}: no revision {revision or 'HEAD'} ({_reasons(error)[0]}). Give a branch, a tag or a "
            f"commit; known: {known or 'none yet'}."
        ) from error
    finally:
        scm.close()


def _describe_remote(config: Any) -> str:
    name = config["core"].get("remote")
    remote = config["remote"].get(name, {})
    if not remote:
        return "no DVC remote (no default is set)"
    endpoint = remote.get("endpointurl") or (remote["url"].startswith("s3") and os.environ.get("AWS_ENDPOINT_URL"))
    return redact(f"the DVC remote {name}, {remote['url']}{f' at {endpoint}' if endpoint else ''}")


def _reasons(error: BaseException | None) -> list[str]:
    """Return the messages of the error and its causes, one line each, without passwords."""
    reasons: dict[str, None] = {}
    while error is not None:
        reasons[redact(" ".join(str(error).split()) or type(error).__name__)[:300]] = None
        error = error.__cause__
    return list(reasons)


class _Counting(Callback):
    """Forwards DVC's callbacks to our progress: the root counts files, its branches count bytes."""

    def __init__(self, progress: TransferProgress) -> None:
        super().__init__()
        self.progress = progress

    def relative_update(self, inc: int = 1) -> None:
        for _ in range(inc):
            self.progress.add_file()

    def branched(self, path_1: str, path_2: str, **kwargs: Any) -> Callback:
        return _CountingBytes(self.progress, Path(path_2))


class _CountingBytes(Callback):
    def __init__(self, progress: TransferProgress, path: Path) -> None:
        super().__init__()
        self.progress, self.path, self.counted = progress, path, 0

    def relative_update(self, inc: int = 1) -> None:
        self.counted += inc
        self.progress.add_bytes(inc)

    def close(self) -> None:
        """Count what DVC did not report, such as cached files; DVC may close more than once."""
        if self.path.is_file():
            self.relative_update(self.path.stat().st_size - self.counted)
