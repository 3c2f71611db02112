"""Fetch a dataset that DVC tracks in a git repository, from any kind of remote."""

import posixpath
from dataclasses import dataclass
from pathlib import Path

from bss.console import make_console
from bss.errors import BssError, raise_problems
from bss.files import require_new, whole_folder
from bss.redact import redact
from bss.remote.transfer import TransferProgress


@dataclass(frozen=True)
class DataVersion:
    """One version of a dataset."""

    repository: str
    """URL or path of the git repository; empty for data on S3 and built-in data."""
    commit: str
    """The commit of its revision; empty for data on S3 and built-in data."""
    path: str
    """Folder in the repository, s3://bucket/prefix, or name of the built-in data."""
    digest: str
    """DVC's digest of the folder, or a digest of its files' digests; on S3 of their sizes and ETags."""


def locate(repository: str, revision: str, path: str) -> DataVersion:
    """Return the version of the folder `path` at `revision` (branch, tag or commit; empty: the default branch).

    `repository` is a local folder, or a URL that git can clone. No data is transferred, except the file list if DVC
    does not track `path` itself. Raises `BssError` if the repository, the revision or the folder cannot be opened.
    """
    from bss.remote.dvc_repository import digest_files, open_folder

    path = _relative(path)
    with open_folder(repository, revision, path) as (folder, commit):
        digest = folder.dvc_digest or digest_files(folder.list_files(), as_dvc=False)
    return DataVersion(repository, commit, path, digest)


def fetch(version: DataVersion, folder: Path) -> int:
    """Write the files of `version` into `folder`, which must be new or empty; return their number.

    Each file is checked against its digest, and the file list against the version's. Credentials and endpoint
    are those of DVC: the remote's own configuration, then the environment (AWS_ACCESS_KEY_ID,
    AWS_SECRET_ACCESS_KEY, AWS_ENDPOINT_URL). Raises `BssError` if a file cannot be fetched or does not match
    its digest; `folder` is then removed.
    """
    from bss.remote.dvc_repository import digest_as, digest_files, open_folder

    require_new(folder)
    where = f"{redact(version.repository)} at {version.commit[:12]}, {version.path}"
    with open_folder(version.repository, version.commit, version.path) as (source, _):
        files = source.list_files()
        found = digest_files(files, as_dvc=source.dvc_digest is not None)
        if found != version.digest:
            raise BssError(
                f"{where}: its file list has digest {found}, expected {version.digest}. Locate the version "
                "again; if that does not help, the list in the DVC remote is damaged: `dvc push` it again."
            )
        with whole_folder(folder) as unfinished:
            unfinished.rmdir()  # DVC would nest its folder in an existing one
            with TransferProgress("fetching", "fetched", len(files), make_console()) as progress:
                source.copy(unfinished, progress)
            problems = []
            for file in files:
                path = unfinished / file.name
                if not path.is_file():
                    problems.append(f"{file.name}: missing")
                elif file.kind != "git" and (digest := digest_as(file, path)) != file.digest:
                    problems.append(f"{file.name}: md5 {digest}, expected {file.digest}")
            raise_problems(where, problems, "The DVC remote has damaged files; delete them there and `dvc push` again.")
    return len(files)


def _relative(path: str) -> str:
    """Return `path` in its shortest form, relative to the repository; `.` is the repository's folder."""
    short = posixpath.normpath(path.strip("/") or ".")
    if short.split("/")[0] == "..":
        raise BssError(f"{path}: outside the repository. Give a path relative to the repository's folder.")
    return short
