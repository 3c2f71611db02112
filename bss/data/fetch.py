"""Fetching a dataset that DVC tracks in a git repository, wherever its remote stores it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bss.errors import BssError
from bss.files import digest_file, digest_json, whole_folder


@dataclass(frozen=True)
class DataVersion:
    """One version of a dataset."""

    repository: str
    """Address or path of the git repository; empty for built-in data."""
    commit: str
    """The commit that its revision means; empty for built-in data."""
    path: str
    """Folder in the repository, or name of the built-in data."""
    digest: str
    """DVC's digest of the folder, or a digest of the digests of its files."""


def locate(repository: str, revision: str, path: str) -> DataVersion:
    """Return the version of the folder `path` at `revision` (branch, tag or commit; empty: the default branch).

    Nothing of the data is transferred but its list of files. Raises `BssError` where the repository, the
    revision or the folder cannot be had.
    """
    with _open(repository, revision, path) as (files, commit):
        info = files.info(path).get("dvc_info") or {}
        digest = info.get("md5") or digest_json(_digests(files, path))
    return DataVersion(repository, commit, path, digest)


def fetch(version: DataVersion, folder: Path) -> None:
    """Write the files of `version` into `folder`, from the DVC remote, each checked against its digest.

    Credentials and the endpoint are those that DVC takes: the remote's own configuration, then the
    environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_ENDPOINT_URL). Raises `BssError` where a file
    cannot be had or is not what the repository says; nothing is then left in `folder`.
    """
    with (
        _open(version.repository, version.commit, version.path) as (files, _),
        whole_folder(folder) as unfinished,
    ):
        expected = _digests(files, version.path)
        files.get(version.path, str(unfinished), recursive=True)
        for name, md5 in expected.items():
            path = unfinished / name
            found = digest_file(path, "md5") if path.is_file() else "nothing"
            if md5 is not None and found != md5:
                raise BssError(
                    f"{version.repository} at {version.commit[:12]}, {version.path}/{name}: the remote gave a file "
                    f"with md5 {found}, expected {md5}. Push it again: `dvc push --force`."
                )


@contextmanager
def _open(repository: str, revision: str, path: str) -> Iterator[tuple[Any, str]]:
    """Give DVC's file system of the repository and the commit; whatever goes wrong becomes a `BssError`."""
    import logging

    from dvc.api import DVCFileSystem

    logging.getLogger("dvc").setLevel(logging.ERROR)
    where = f"{repository}{f' at {revision}' if revision else ''}, {path}"
    try:
        files = DVCFileSystem(repository, rev=revision or None)
        if not files.isdir(path):
            raise BssError(f"{where}: no such folder in this revision. Name a folder that DVC or git tracks there.")
        yield files, files.repo.get_rev()
    except BssError:
        raise
    except Exception as error:  # DVC, git, the remote's client and the network all raise their own
        reason = " ".join(str(error).split()) or type(error).__name__
        raise BssError(
            f"{where}: {reason[:400]}\nCheck the repository's address, the revision, and that the DVC remote is "
            "reachable with the credentials of this environment."
        ) from error


def _digests(files: Any, path: str) -> dict[str, str | None]:
    """Return the path of every file below `path`, relative to it, with its md5 where DVC tracks it."""
    found = files.find(path, detail=True)
    root = path.strip("/") + "/"
    return {
        name.lstrip("/").removeprefix(root): (info.get("dvc_info") or {}).get("md5")
        for name, info in sorted(found.items())
    }
