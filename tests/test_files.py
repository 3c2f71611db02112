"""Outputs appear atomically, whenever the process that writes them is killed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bss.files import held, restore_folder, whole_file, whole_folder


def write(folder, text):
    with whole_folder(folder) as made:
        (made / "deep").mkdir()
        (made / "a").write_text(text)
        (made / "deep" / "b").write_text(text)


def write_half(path):
    path.write_text("half")
    raise RuntimeError


def content(folder):
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


def left(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_folder_replaces_the_one_before_and_leaves_nothing_beside_it(tmp_path):
    write(tmp_path / "out", "old")
    write(tmp_path / "out", "new")
    assert content(tmp_path / "out") == {"a": "new", "deep/b": "new"}
    assert left(tmp_path) == ["out"]


def test_a_folder_whose_making_fails_leaves_the_one_before(tmp_path):
    write(tmp_path / "out", "old")
    with pytest.raises(RuntimeError), whole_folder(tmp_path / "out") as made:
        write_half(made / "a")
    assert content(tmp_path / "out") == {"a": "old", "deep/b": "old"}
    assert left(tmp_path) == ["out"]


# The process is killed at the n-th of the calls that change names or put them on the disk.
KILL = """
import os, sys
from pathlib import Path
from bss.files import whole_folder
calls = 0
def counted(call):
    def instead(*arguments, **options):
        global calls
        calls += 1
        if calls == int(sys.argv[2]):
            os.kill(os.getpid(), 9)
        return call(*arguments, **options)
    return instead
for name in ("rename", "fsync", "rmdir", "unlink"):
    setattr(os, name, counted(getattr(os, name)))
with whole_folder(Path(sys.argv[1])) as made:
    (made / "a").write_text("new")
    (made / "b").write_text("new")
print(calls)
"""


def kill_at(folder, number):
    done = subprocess.run(
        [sys.executable, "-S", "-c", KILL, str(folder), str(number)], capture_output=True, text=True, check=False
    )
    assert done.returncode in (0, -9), done.stderr
    return int(done.stdout) if done.returncode == 0 else None


@pytest.mark.process
def test_killed_at_any_moment_the_folder_is_the_old_or_the_new_one(tmp_path):
    folder = tmp_path / "out"
    seen = set()
    number = 1
    while True:
        write(folder, "old")
        calls = kill_at(folder, number)
        if calls is not None:
            break
        restore_folder(folder)  # as the next run does first
        found = content(folder)
        assert found in ({"a": "old", "deep/b": "old"}, {"a": "new", "b": "new"})
        seen.add(found["a"])
        number += 1
    assert number > 6
    assert seen == {"old", "new"}
    write(folder, "again")
    assert left(tmp_path) == ["out"]


def test_files_and_names_are_on_the_disk_before_the_folder_has_its_name(tmp_path, monkeypatch):
    done = []
    fsync, rename = os.fsync, os.rename

    def note(handle):
        done.append(("sync", str(Path(f"/proc/self/fd/{handle}").readlink()).removeprefix(f"{tmp_path}").lstrip("/")))
        return fsync(handle)

    def note_name(old, new, **options):
        done.append(("rename", os.path.basename(new)))  # noqa: PTH119
        return rename(old, new, **options)

    monkeypatch.setattr(os, "fsync", note)
    monkeypatch.setattr(os, "rename", note_name)
    write(tmp_path / "out", "new")
    place = done.index(("rename", "out"))
    assert {name for what, name in done[:place] if what == "sync"} == {
        ".out.unfinished",
        ".out.unfinished/a",
        ".out.unfinished/deep",
        ".out.unfinished/deep/b",
    }
    assert done[place + 1 :] == [("sync", "")]


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    (tmp_path / "x").write_text("old")
    with pytest.raises(RuntimeError), whole_file(tmp_path / "x") as file:
        write_half(file)
    assert (tmp_path / "x").read_text() == "old"
    with whole_file(tmp_path / "x") as file:
        file.write_text("new")
    assert (tmp_path / "x").read_text() == "new"
    assert left(tmp_path) == ["x"]


def test_what_one_process_writes_no_other_does(tmp_path):
    from bss.errors import BssError

    with held(tmp_path / "out"), pytest.raises(BssError, match="another process is writing it"), held(tmp_path / "out"):
        pass
