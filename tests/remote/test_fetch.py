import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import boto3
import pytest
from buckets import administrator
from rich.filesize import decimal

from bss.cli import main
from bss.errors import BssError
from bss.remote.fetch import fetch, locate

pytestmark = pytest.mark.process

BIN = Path(sys.executable).parent
FIRST = {"audio/a.bin": b"\0\1\r\n" * 500, "audio/b.bin": b"b", "empty": b"", "manifest.csv": b"id,label\r\n1,2\n"}
SECOND = FIRST | {"audio/b.bin": b"changed"}
REMOTE = {"audio/a.bin", "audio/b.bin", "empty", "manifest.csv"}


def run(folder, *command):
    environment = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout.strip()


def commit(folder, message):
    run(folder, "git", "add", "-A")
    run(folder, "git", "-c", "user.name=test", "-c", "user.email=test@example.org", "commit", "-qm", message)
    return run(folder, "git", "rev-parse", "HEAD")


def write(folder, files):
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def read(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def repository(s3_endpoint, tmp_path_factory):
    """A DVC repository, pushed to the object store: commits by name, and its path.

    Tags: first (annotated), readme (the same data), second. Branches: main, `down`, whose remote is at an
    address where nobody answers, and `unpushed`.
    """
    administrator(s3_endpoint).create_bucket(Bucket="datasets")
    folder = tmp_path_factory.mktemp("repository")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "somebody")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "the-secret")
        run(folder, "git", "init", "-q", "-b", "main")
        run(folder, "dvc", "init", "-q")
        config = folder / ".dvc" / "config"
        remote = f"url = s3://datasets/birds\n    endpointurl = {s3_endpoint}"
        config.write_text(f"[core]\n    remote = store\n['remote \"store\"']\n    {remote}\n")
        write(folder, {"data/birds/" + name: content for name, content in FIRST.items()})
        write(folder, {"plain/manifest.csv": b"one"})
        run(folder, "dvc", "add", "-q", "data/birds")
        commits = {"first": commit(folder, "first")}
        run(folder, "git", "-c", "user.name=t", "-c", "user.email=t@example.org", "tag", "-a", "first", "-m", "text")
        run(folder, "dvc", "push", "-q")
        write(folder, {"README.md": b"text"})
        commits["readme"] = commit(folder, "readme")
        run(folder, "git", "tag", "readme")
        write(folder, {"data/birds/" + name: content for name, content in SECOND.items()})
        write(folder, {"plain/manifest.csv": b"two"})
        run(folder, "dvc", "add", "-q", "data/birds")
        commits["second"] = commits["main"] = commits[""] = commit(folder, "second")
        run(folder, "git", "tag", "second")
        run(folder, "dvc", "push", "-q")
    run(folder, "git", "checkout", "-qb", "down")
    config.write_text(config.read_text().replace(s3_endpoint, "http://127.0.0.1:9"))
    commits["down"] = commit(folder, "down")
    run(folder, "git", "checkout", "-q", "main")
    return folder, commits


@pytest.fixture
def source(repository, aws, tmp_path, monkeypatch):
    """The repository's address and its commits; after the test no temporary file of it may be left."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.delenv("DVC_SITE_CACHE_DIR", raising=False)
    folder, commits = repository
    yield f"file://{folder}", commits
    assert list(temporary.iterdir()) == []


@pytest.fixture
def client(aws):
    return boto3.Session().client("s3", region_name="us-east-1")


@contextmanager
def changed_object(client, repository, change):
    """Change the objects of the remote by `change(key, content)` (None: remove it), and restore them at the end."""
    found = client.list_objects_v2(Bucket="datasets")["Contents"]
    before = {o["Key"]: client.get_object(Bucket="datasets", Key=o["Key"])["Body"].read() for o in found}
    after = {key: change(key, content) for key, content in before.items()}
    assert after != before
    for key, content in after.items():
        if content is None:
            client.delete_object(Bucket="datasets", Key=key)
        elif content != before[key]:
            client.put_object(Bucket="datasets", Key=key, Body=content)
    try:
        yield
    finally:
        for key, content in before.items():
            client.put_object(Bucket="datasets", Key=key, Body=content)


def refused(address, revision, target, path="data/birds"):
    with pytest.raises(BssError) as caught:
        fetch(locate(address, revision, path), target)
    assert not target.exists()
    assert not list(target.parent.glob(".*unfinished"))
    assert "the-secret" not in str(caught.value)
    return str(caught.value)


def dvc_digest(repository, revision):
    text = run(repository[0], "git", "show", f"{revision}:data/birds.dvc")
    return text.split("md5: ")[1].split()[0]


@pytest.mark.parametrize("revision", ["", "main", "first", "readme", "second", "down"])
def test_a_revision_becomes_its_commit_and_dvcs_digest(repository, source, revision):
    address, commits = source
    found = locate(address, revision, "data/birds/")
    assert found.commit == commits[revision]
    assert found.path == "data/birds"
    assert found.digest == dvc_digest(repository, revision or "main")
    assert found.digest.endswith(".dir")
    assert locate(address, found.commit, "data/birds") == found
    assert locate(address, found.commit[:10], "data/birds") == found


@pytest.mark.parametrize("path", ["data/birds", "data/birds/audio", "data", "plain", "."])
def test_the_digest_changes_with_the_data_and_with_nothing_else(source, path):
    address, _ = source
    first, readme, second = (locate(address, name, path).digest for name in ("first", "readme", "second"))
    assert (first == readme) == (path != ".")
    assert second not in (first, readme)


def test_exactly_the_files_of_the_version_are_fetched(source, tmp_path, capfd):
    address, _ = source
    for revision, expected in (("first", FIRST), ("second", SECOND)):
        assert fetch(locate(address, revision, "data/birds"), tmp_path / revision) == 4
        assert read(tmp_path / revision) == expected
    size = sum(map(len, FIRST.values()))
    output, errors = capfd.readouterr()
    assert f"fetched 4 files, {size / 1000:.1f} kB, in " in output
    assert errors == ""


def test_a_folder_in_one_under_dvc_and_a_folder_under_git_alone(source, tmp_path):
    address, _ = source
    fetch(locate(address, "first", "data/birds/audio"), tmp_path / "audio")
    assert read(tmp_path / "audio") == {"a.bin": FIRST["audio/a.bin"], "b.bin": b"b"}
    fetch(locate(address, "second", "plain"), tmp_path / "plain")
    assert read(tmp_path / "plain") == {"manifest.csv": b"two"}
    fetch(locate(address, "second", "/"), tmp_path / "all")
    expected = {"data/birds/" + name: content for name, content in SECOND.items()}
    expected |= {"plain/manifest.csv": b"two", "README.md": b"text", "data/.gitignore": b"/birds\n"}
    assert read(tmp_path / "all") == expected


def test_a_repository_without_dvc_and_one_without_a_remote(source, tmp_path):
    folder = tmp_path / "repository"
    write(folder, {"data/manifest.csv": b"one"})
    run(folder, "git", "init", "-q", "-b", "main")
    commit(folder, "files")
    fetch(locate(f"file://{folder}", "", "data"), tmp_path / "data")
    assert read(tmp_path / "data") == {"manifest.csv": b"one"}
    outs = "outs:\n- md5: 0123456789abcdef0123456789abcdef.dir\n  hash: md5\n  path: birds\n"
    write(folder, {".dvc/config": b"", "birds.dvc": outs.encode()})
    commit(folder, "birds")
    assert "The data is on no DVC remote" in refused(f"file://{folder}", "", tmp_path / "birds", "birds")


def test_a_repository_on_this_machine_uses_its_own_cache_and_not_its_working_files(repository, source, tmp_path):
    folder, commits = repository
    (folder / "plain" / "manifest.csv").write_text("not committed")
    try:
        assert locate(str(folder), "", "plain") == replace(locate(source[0], "", "plain"), repository=str(folder))
    finally:
        (folder / "plain" / "manifest.csv").write_bytes(b"two")
    version = locate(str(folder), "down", "data/birds")
    assert version.commit == commits["down"]
    fetch(version, tmp_path / "data")
    assert read(tmp_path / "data") == SECOND
    (tmp_path / "data" / "manifest.csv").write_text("changed")
    fetch(version, tmp_path / "again")
    assert read(tmp_path / "again") == SECOND


def test_mistakes_in_the_request_are_named(source, tmp_path):
    address, _ = source
    target = tmp_path / "data"
    assert "no revision third" in (message := refused(address, "third", target))
    assert "known: down, main, first, readme, second" in message
    assert "data/bird: no such folder in this revision" in refused(address, "first", target, "data/bird")
    assert "data/birds/fish: no such folder" in refused(address, "first", target, "data/birds/fish")
    assert "data/birds/empty: is a file. Give its folder" in refused(address, "first", target, "data/birds/empty")
    assert "outside the repository" in refused(address, "first", target, "data/../../x")
    assert "cannot be cloned (No git repository was found" in refused(address + "-x", "", target)
    assert "Connection refused" in (message := refused("https://me:the-secret@127.0.0.1:9/x.git", "", target))
    assert "https://***@127.0.0.1:9/x.git: cannot be cloned" in message
    (tmp_path / "folder").mkdir()
    assert "cannot be cloned" in refused(str(tmp_path / "folder"), "", target)


def test_a_folder_that_is_there_is_not_replaced(source, tmp_path):
    address, _ = source
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(BssError, match="already exists and would be replaced"):
        fetch(locate(address, "first", "data/birds"), tmp_path)
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_a_remote_that_does_not_answer(source, tmp_path):
    message = refused(source[0], "down", tmp_path / "data")
    assert "Could not connect to the endpoint URL" in message
    assert "the DVC remote store, s3://datasets/birds at http://127.0.0.1:9" in message


def test_an_object_that_is_missing_in_the_remote(repository, source, client, tmp_path):
    def remove(key, content):
        return None if content == SECOND["audio/b.bin"] else content

    with changed_object(client, repository, remove):
        message = refused(source[0], "second", tmp_path / "data")
        assert "audio/b.bin" in message
        assert "dvc push" in message
        fetch(locate(source[0], "first", "data/birds"), tmp_path / "first")
    assert read(tmp_path / "first") == FIRST


def test_an_object_that_is_not_what_was_pushed(repository, source, client, tmp_path):
    def flip(key, content):
        return b"x" + content[1:] if content == FIRST["audio/a.bin"] else content

    def truncate(key, content):
        return content[:-7] if content == FIRST["audio/a.bin"] else content

    for change in (flip, truncate):
        with changed_object(client, repository, change):
            assert "audio/a.bin: md5 " in refused(source[0], "second", tmp_path / "data")


def test_a_list_of_files_that_is_not_what_was_pushed(repository, source, client, tmp_path):
    other = dvc_digest(repository, "first")

    def exchange(key, content):
        return listed[other] if key.endswith(".dir") else content

    def truncate(key, content):
        return content[:-7] if key.endswith(".dir") else content

    def remove(key, content):
        return None if key.endswith(".dir") else content

    found = client.list_objects_v2(Bucket="datasets")["Contents"]
    key = next(o["Key"] for o in found if o["Key"].replace("/", "").endswith(other))
    listed = {other: client.get_object(Bucket="datasets", Key=key)["Body"].read()}
    for change, expected in ((exchange, "its file list has digest"), (truncate, "corrupt"), (remove, "")):
        with changed_object(client, repository, change):
            assert expected in refused(source[0], "second", tmp_path / "data")


def test_credentials_that_are_refused(source, strict_aws, tmp_path, monkeypatch):
    message = refused(source[0], "second", tmp_path / "data")
    assert "Access Key Id you provided does not exist" in message or "Forbidden" in message
    name, secret = strict_aws
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", name)
    refused(source[0], "second", tmp_path / "data")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
    fetch(locate(source[0], "second", "data/birds"), tmp_path / "data")
    assert read(tmp_path / "data") == SECOND


def test_the_command_prints_what_it_fetched(source, tmp_path, capsys):
    address, commits = source
    command = ["fetch", address, "--revision", "first", "--path", "data/birds", "--to", str(tmp_path / "birds")]
    assert main(command) == 0
    shown = capsys.readouterr().out
    assert f"commit      {commits['first']}" in shown
    assert f"digest      {locate(address, 'first', 'data/birds').digest}" in shown
    assert f"files       4 in {tmp_path / 'birds'}" in shown
    assert read(tmp_path / "birds") == FIRST
    assert main(command) == 1
    assert "already exists" in capsys.readouterr().err


@pytest.mark.parametrize("by", ["address", "path"])
def test_the_bytes_that_are_reported_are_those_of_the_files(source, tmp_path, capsys, by):
    address = source[0] if by == "address" else source[0].removeprefix("file://")
    fetch(locate(address, "second", "data/birds"), tmp_path / "birds")
    size = sum(path.stat().st_size for path in (tmp_path / "birds").rglob("*") if path.is_file())
    assert f"fetched 4 files, {decimal(size)}, " in " ".join(capsys.readouterr().out.split())


def test_a_program_for_git_is_not_needed(source, tmp_path):
    script = "import sys; from bss.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", script, "fetch", source[0], "--path", "data/birds", "--to", str(tmp_path / "x")]
    environment = {**os.environ, "PATH": "", "PYTHONPATH": str(Path(__file__).parents[2])}
    assert shutil.which("git", path="") is None
    subprocess.run(command, env=environment, check=True, capture_output=True)
    assert read(tmp_path / "x") == SECOND
