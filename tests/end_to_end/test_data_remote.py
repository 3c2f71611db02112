"""`make data-push` and `make data-pull` with an object store, damaged objects, and raw data there."""

import os
import shutil
import subprocess

import pytest
from buckets import keys, temporary_bucket
from clones import BIN, PROJECT, commit, forking_environment, run, write_params
from embedded_data import make_parameters, members, prepared, write_shard

from bss.config import config_to_tree
from bss.data.store import Store
from bss.init.project import write_project

pytestmark = pytest.mark.process

FILES = {"a.bin": bytes(range(256)) * 100, "deep/b.bin": b"b", "manifest.csv": b"id,label\n1,2\n"}


@pytest.fixture
def client(aws, monkeypatch, tmp_path):
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    with temporary_bucket("shared") as client:
        yield client


def make(folder, target):
    """Run make with the tools of this environment in place of an own one."""
    for name in ("Makefile", "pyproject.toml", "requirements.lock", "requirements-dev.lock"):
        shutil.copy(PROJECT / name, folder / name)
    (folder / "ready").touch()
    command = ["make", target, f"BIN={os.path.relpath(BIN, folder)}", "READY=ready"]
    found = forking_environment(PROJECT)
    done = subprocess.run(command, cwd=folder, env=found, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def origin(client, aws, tmp_path):
    """A repository with data under DVC, pushed, and a clone that has none of it yet."""
    folder = tmp_path / "origin"
    for name, content in FILES.items():
        (folder / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "data" / name).write_bytes(content)
    run(folder, "git", "init", "-q", "-b", "main")
    run(folder, "dvc", "init", "-q")
    run(folder, "dvc", "add", "-q", "data")
    status, shown = make(folder, "data-push")
    assert status != 0
    assert "no remote specified" in shown
    run(folder, "dvc", "remote", "add", "-q", "--default", "store", "s3://shared/data")
    run(folder, "dvc", "remote", "modify", "store", "endpointurl", aws)
    commit(folder, "data")
    status, shown = make(folder, "data-push")
    assert status == 0, shown
    assert "checked 4 files" in shown  # the list of the folder is one
    clone = tmp_path / "clone"
    run(tmp_path, "git", "clone", "-q", str(folder), str(clone))
    return folder, clone


def there(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_another_clone_gets_the_same_files(origin):
    _, clone = origin
    status, shown = make(clone, "data-pull")
    assert status == 0, shown
    assert there(clone / "data") == FILES


def cached(folder, content):
    (path,) = [p for p in (folder / ".dvc/cache").rglob("*") if p.is_file() and p.read_bytes() == content]
    return path


def test_an_object_that_was_damaged_in_the_cache_is_not_pushed(origin, client):
    folder, _ = origin
    for key in keys(client, "shared"):
        client.delete_object(Bucket="shared", Key=key)
    path = cached(folder, FILES["a.bin"])
    path.chmod(0o644)
    path.write_bytes(FILES["a.bin"][:-1] + b"!")
    path.chmod(0o444)
    status, shown = make(folder, "data-push")
    assert status != 0
    assert "1 problem" in shown
    assert "a.bin" in shown
    assert keys(client, "shared") == []


def test_an_object_that_is_damaged_in_the_remote_is_not_checked_out(origin, client):
    folder, clone = origin
    digest = cached(folder, FILES["a.bin"])
    (key,) = [key for key in keys(client, "shared") if key.endswith(f"{digest.parent.name}/{digest.name}")]
    client.put_object(Bucket="shared", Key=key, Body=FILES["a.bin"][:-1] + b"!")
    status, shown = make(clone, "data-pull")
    assert status != 0
    assert "a.bin" in shown
    assert not (clone / "data").exists()
    client.put_object(Bucket="shared", Key=key, Body=FILES["a.bin"])
    status, shown = make(clone, "data-pull")
    assert status == 0, shown
    assert there(clone / "data") == FILES


def test_with_verify_dvc_itself_finds_a_damaged_object(origin, client):
    folder, clone = origin
    digest = cached(folder, FILES["a.bin"])
    (key,) = [key for key in keys(client, "shared") if key.endswith(f"{digest.parent.name}/{digest.name}")]
    client.put_object(Bucket="shared", Key=key, Body=b"other")
    run(clone, "dvc", "remote", "modify", "--local", "store", "verify", "true")
    assert "failed to" in run(clone, "dvc", "pull", check=False).lower()
    assert not (clone / "data" / "a.bin").exists()


def test_dvc_prepares_a_root_on_s3_and_again_if_an_object_changes(client, tmp_path):
    url, local, project = "s3://shared/raw/birds", tmp_path / "birds", tmp_path / "project"
    local.mkdir()
    project.mkdir()
    write_shard(local / "0.tar", members())
    client.upload_file(str(local / "0.tar"), "shared", "raw/birds/0.tar")
    write_project(project)
    write_params(project, config_to_tree(make_parameters(url, "*.tar")) | {"generate": {}})
    run(project, "git", "init", "-q")
    run(project, "dvc", "init", "-q")
    assert "read 1 files" in run(project, "dvc", "repro", "prepare")
    assert f"path: {url}" in (project / "dvc.lock").read_text()
    store = Store.open(project / "outputs" / "store")
    assert store.digest == prepared(local, "*.tar", tmp_path / "local").digest
    client.put_object(Bucket="shared", Key="raw/birds/unnamed.bin", Body=b"all objects below the root count")
    assert "modified" in run(project, "dvc", "status", "prepare")
