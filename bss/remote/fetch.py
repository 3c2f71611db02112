"""Fetching a dataset that DVC tracks in a git repository, wherever its remote stores it."""

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
    """Address or path of the git repository; empty for built-in data."""
    commit: str
    """The commit that its revision means; empty for built-in data."""
    path: str
    """Folder in the repository, or name of the built-in data."""
    digest: str
    """DVC's digest of the folder, or a digest of the digests of its files."""


def locate(repository: str, revision: str, path: str) -> DataVersion:
    """Return the version of the folder `path` at `revision` (branch, tag or commit; empty: the default branch).

    `repository` is a folder on this machine, or an address that git clones. Nothing of the data is
    transferred but, where `path` is not itself what DVC tracks, the list of its files. Raises `BssError` where
    the repository, the revision or the folder cannot be had.
    """
    from bss.remote.dvc_repository import digest_files, open_folder

    path = _relative(path)
    with open_folder(repository, revision, path) as (folder, commit):
        digest = folder.dvc_digest or digest_files(folder.list_files(), as_dvc=False)
    return DataVersion(repository, commit, path, digest)


def fetch(version: DataVersion, folder: Path) -> int:
    """Write the files of `version` into `folder`, which must be new or empty; return their number.

    Each file is checked against its digest, and their list against the version's. Credentials and the endpoint
    are those that DVC takes: the remote's own configuration, then the environment (AWS_ACCESS_KEY_ID,
    AWS_SECRET_ACCESS_KEY, AWS_ENDPOINT_URL). Raises `BssError` if a file cannot be had or is not what the
    repository says; nothing is then left of `folder`.
    """
    from bss.remote.dvc_repository import digest_as, digest_files, open_folder

    require_new(folder)
    where = f"{redact(version.repository)} at {version.commit[:12]}, {version.path}"
    with open_folder(version.repository, version.commit, version.path) as (source, _):
        files = source.list_files()
        found = digest_files(files, as_dvc=source.dvc_digest is not None)
        if found != version.digest:
            raise BssError(
                f"{where}: the list of its files has the digest {found}, expected {version.digest}. Locate the version "
                "again; if that does not help, the list in the DVC remote is damaged: `dvc push` it again."
            )
        with whole_folder(folder) as unfinished:
            unfinished.rmdir()  # DVC puts a folder into one that is there
            with TransferProgress("fetching", "fetched", len(files), make_console()) as progress:
                source.copy(unfinished, progress)
            problems = []
            for file in files:
                path = unfinished / file.name
                if not path.is_file():
                    problems.append(f"{file.name}: missing")
                elif file.kind != "git" and (digest := digest_as(file, path)) != file.digest:
                    problems.append(f"{file.name}: md5 {digest}, expected {file.digest}")
            raise_problems(
                where, problems, "The DVC remote holds damaged files; remove them there and `dvc push` again."
            )
    return len(files)


def _relative(path: str) -> str:
    """Return `path` in its shortest form, relative to the repository; `.` is the repository's folder."""
    short = posixpath.normpath(path.strip("/") or ".")
    if short.split("/")[0] == "..":
        raise BssError(f"{path}: outside of the repository. Give a path relative to the repository's folder.")
    return short
