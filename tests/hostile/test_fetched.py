"""Repositories and DVC remotes that would write or read outside of the folder that is fetched."""

import hashlib
import json
import os
import subprocess

import pytest
from damage import refused, refused_or
from tally import tried

from bss.remote.fetch import fetch, locate

pytestmark = pytest.mark.process


def git(folder, *arguments):
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.org", "-c", "init.defaultBranch=main"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


def put(remote, content, suffix=""):
    """Write an object into a DVC remote; return its digest."""
    digest = hashlib.md5(content).hexdigest()
    path = remote / "files" / "md5" / digest[:2] / f"{digest[2:]}{suffix}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return digest + suffix


@pytest.fixture
def repository(tmp_path):
    """Return what makes a repository with a folder `data` of the files that it is given, the remote, and its folder."""
    remote, folder = tmp_path / "remote", tmp_path / "repository"
    (folder / ".dvc").mkdir(parents=True)

    def make(entries):
        listed = json.dumps(entries, sort_keys=True).encode() if isinstance(entries, list) else entries
        digest = put(remote, listed, ".dir")
        (folder / ".dvc" / "config").write_text(f"[core]\n    remote = r\n['remote \"r\"']\n    url = {remote}\n")
        (folder / "data.dvc").write_text(f"outs:\n- md5: {digest}\n  nfiles: 1\n  hash: md5\n  path: data\n")
        git(folder, "init", "-q")
        git(folder, "add", "-A")
        git(folder, "commit", "-qm", "data")
        return f"file://{folder}"

    return make, remote, folder


def below(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())


OUTSIDE = ["../evil", "a/../../../evil", "/tmp/evil-of-bss", "..", "a/./b"]


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_list_of_files_that_names_one_outside_of_the_folder_writes_nothing(name, repository, tmp_path):
    make, remote, _ = repository
    address = make([{"md5": put(remote, b"evil"), "relpath": name}])
    target = tmp_path / "target" / "deep" / "data"
    target.parent.mkdir(parents=True)
    before = [path for path in below(tmp_path) if not path.startswith(("repository", "remote"))]
    refused_or("dvc", lambda: fetch(locate(address, "", "data"), target))
    written = [path for path in below(tmp_path) if not path.startswith(("repository", "remote"))]
    assert [path for path in written if path not in before and not path.startswith("target/deep/data/")] == []
    assert not os.path.exists("/tmp/evil-of-bss")  # noqa: PTH110


LISTS = [b"", b"[", b"{}", b"null", b"[1]", b'[{"relpath": "a"}]', b'[{"md5": "x"}]', b"[" * 100_000, b"\xff", b"[NaN]"]


@pytest.mark.parametrize("data", LISTS, ids=range(len(LISTS)))
def test_a_damaged_list_of_files_is_refused(data, repository, tmp_path):
    make, _, _ = repository
    address = make(data)
    refused("dvc", lambda: fetch(locate(address, "", "data"), tmp_path / "data"))
    assert not (tmp_path / "data").exists()


def test_a_link_in_a_repository_brings_nothing_from_outside(repository, tmp_path):
    make, remote, folder = repository
    (tmp_path / "secret").write_text("hunter2")
    (folder / "plain").mkdir()
    (folder / "plain" / "good").write_text("good")
    (folder / "plain" / "absolute").symlink_to(tmp_path / "secret")
    (folder / "plain" / "up").symlink_to("../../secret")
    address = make([{"md5": put(remote, b"x"), "relpath": "x"}])
    target = tmp_path / "target" / "data"
    target.parent.mkdir()
    (tmp_path / "target" / "secret").write_text("hunter2")
    refused_or("dvc", lambda: fetch(locate(address, "", "plain"), target))
    if target.exists():
        for path in target.rglob("*"):
            assert not path.is_symlink()
            assert "hunter2" not in path.read_text()
    tried("dvc", "read")


@pytest.mark.parametrize("path", ["../x", "a/../../x", "/..", "\0", "n" * 5000])
def test_a_path_that_leaves_the_repository_is_refused(path, repository, tmp_path):
    make, remote, _ = repository
    address = make([{"md5": put(remote, b"x"), "relpath": "x"}])
    refused("dvc", lambda: fetch(locate(address, "", path), tmp_path / "data"))
