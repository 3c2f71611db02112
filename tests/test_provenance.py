import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import bss
from bss.provenance import digest_package, write_provenance

PACKAGE = Path(bss.__file__).parent


def code_version_of(package_parent, **environment):
    """Ask a fresh process, since the answer is kept for the life of one."""
    script = "import json; from bss.provenance import code_version; print(json.dumps(code_version()))"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(package_parent), **environment},
        cwd=package_parent,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def git(folder, *arguments):
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.mark.process
def test_the_commit_comes_from_the_repository_and_changes_are_reported(tmp_path):
    shutil.copytree(PACKAGE, tmp_path / "bss", ignore=shutil.ignore_patterns("__pycache__"))
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "all")
    clean = code_version_of(tmp_path)
    assert len(clean["commit"]) == 40
    assert clean["modified"] is False
    with (tmp_path / "bss" / "errors.py").open("a") as file:
        file.write("# changed\n")
    changed = code_version_of(tmp_path)
    assert changed["commit"] == clean["commit"]
    assert changed["modified"] is True
    assert changed["digest"] != clean["digest"]


@pytest.mark.process
def test_a_container_without_a_repository_is_given_the_commit(tmp_path):
    shutil.copytree(PACKAGE, tmp_path / "bss", ignore=shutil.ignore_patterns("__pycache__"))
    assert code_version_of(tmp_path, BSS_COMMIT="abc123")["commit"] == "abc123"
    assert code_version_of(tmp_path, BSS_COMMIT="")["commit"] == "unknown"


def test_the_digest_depends_on_names_and_contents(tmp_path):
    (tmp_path / "a.py").write_text("x")
    first = digest_package(tmp_path)
    (tmp_path / "notes.txt").write_text("not code")
    assert digest_package(tmp_path) == first
    (tmp_path / "a.py").rename(tmp_path / "b.py")
    assert digest_package(tmp_path) != first


def test_provenance_tells_what_made_an_artifact_and_not_when_or_where(tmp_path):
    write_provenance(tmp_path, "measure", {"store": "d1"}, {"warmup_epochs": 3})
    text = (tmp_path / "provenance.json").read_text()
    record = json.loads(text)
    assert (record["stage"], record["inputs"], record["parameters"]) == (
        "measure",
        {"store": "d1"},
        {"warmup_epochs": 3},
    )
    assert {"version", "commit", "modified", "digest"} == set(record["code"])
    assert str(tmp_path) not in text
    write_provenance(tmp_path, "measure", {"store": "d1"}, {"warmup_epochs": 3})
    assert (tmp_path / "provenance.json").read_text() == text
