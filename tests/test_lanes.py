"""The fast lane forbids what would make it slow."""

import contextlib
import multiprocessing
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from lanes import LONGEST, guard, pytest_collection_modifyitems, pytest_ignore_collect, uses_shared

NOTHING = [sys.executable, "-c", ""]


def open_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))


WAYS = {
    "subprocess": lambda: subprocess.run(NOTHING, check=True),
    "system": lambda: os.system("true"),
    "fork": os.fork,
    "multiprocessing": lambda: multiprocessing.get_context("spawn").Process(target=print).start(),
    "port": open_port,
}


@pytest.fixture
def deeds(monkeypatch):
    """What the guard noted, forgotten before it fails this test; it is strict, as in the fast lane."""
    monkeypatch.setattr(guard, "allowed", False)
    yield guard.deeds
    guard.deeds.clear()


@pytest.mark.parametrize("way", WAYS)
def test_a_process_and_a_port_need_the_mark(way, deeds):
    with pytest.raises(pytest.fail.Exception, match=r"Mark it .* pytest\.mark\.process"):
        WAYS[way]()
    assert len(deeds) == 1


def test_a_server_in_a_thread_is_noted_though_the_thread_hides_it(deeds):
    thread = threading.Thread(target=open_port)
    thread.start()
    thread.join()
    assert deeds[0].startswith("opens a port")


def test_what_the_code_under_test_hides_is_noted(deeds):
    with contextlib.suppress(BaseException):
        subprocess.run(NOTHING, check=True)
    assert deeds[0].startswith("starts a process")


def test_a_shared_fixture_that_starts_processes_needs_the_mark_in_every_test(monkeypatch):
    uses = "tests/a/test_a.py::test_it", ["tmp_path", "server"]
    assert guard.complaint_about(*uses) is None
    monkeypatch.setitem(guard.fixtures, ("tests/b/test_b.py", "server"), "opens a port (socket.bind)")
    assert guard.complaint_about(*uses) is None  # the fixture of another file has the same name
    monkeypatch.setitem(guard.fixtures, ("tests/a/test_a.py", "server"), "opens a port (socket.bind)")
    assert guard.complaint_about(*uses).startswith("The test uses the fixture server, which opens a port")


@pytest.mark.process
def test_with_the_mark_they_are_allowed():
    subprocess.run(NOTHING, check=True)
    open_port()


def test_the_longest_files_come_first_and_all_else_stays_in_order():
    paths = ["tests/a/test_a.py", f"tests/{LONGEST[1]}", "tests/b/test_b.py", f"tests/{LONGEST[0]}"]
    items = [SimpleNamespace(nodeid=f"{path}::{name}") for path in paths for name in ("test_2", "test_1")]
    pytest_collection_modifyitems(items)
    expected = [paths[3], paths[1], paths[0], paths[2]]
    assert [item.nodeid for item in items] == [f"{path}::{name}" for path in expected for name in ("test_2", "test_1")]
    assert all((Path(__file__).parent / path).is_file() for path in LONGEST)


@pytest.mark.parametrize(
    ("code", "shared"),
    [
        ("def test_it(pipeline): pass", True),
        ("def test_it(\n    tmp_path, database, monkeypatch\n): pass", True),
        ("@pytest.fixture\ndef runs(pipeline, tmp_path): pass", True),
        ("def test_it(tmp_path):\n    pipeline = None", False),
        ("def test_it(): pass\n# (pipeline)", False),
    ],
)
def test_files_that_use_what_is_long_in_the_making_are_known(code, shared, tmp_path):
    path = tmp_path / "test_a.py"
    path.write_text(f"import pytest\n\n\n{code}\n")
    assert uses_shared(path) is shared


@pytest.mark.parametrize(
    ("line", "fast"),
    [
        ("pytestmark = pytest.mark.process", False),
        ("pytestmark = pytest.mark.slow", False),
        ("pytestmark = [needs_browser, pytest.mark.process]", False),
        ("pytestmark = [pytest.mark.slow, needs_browser]", False),
        ('pytestmark = pytest.mark.usefixtures("slow")', True),
        ("@pytest.mark.slow", True),
        ("", True),
    ],
)
def test_the_fast_lane_does_not_import_files_without_a_test_for_it(line, fast, tmp_path):
    path = tmp_path / "test_a.py"
    path.write_text(f"import pytest\n\n{line}\ndef test_it(): pass\n")

    def ignored(expression):
        return pytest_ignore_collect(path, SimpleNamespace(option=SimpleNamespace(markexpr=expression)))

    assert ignored("not process and not slow") is (None if fast else True)
    assert ignored("") is None
    assert ignored("not process") is None
