"""Two lanes of tests: `make test` runs all of them, `make test-fast` those marked neither `process` nor `slow`.

In the fast lane a test that starts a process or opens a port fails, so the lane stays fast. A run of all tests only
runs them: which of them imports a library first, and with it whatever the import starts, depends on the workers there.
"""

import functools
import gc
import multiprocessing.util
import re
import sys
import threading
from pathlib import Path
from types import FrameType

import pytest
from xdist.scheduler import LoadFileScheduling

from bss.provenance import PACKAGE

# Audit events of the interpreter (https://docs.python.org/3/library/audit_events.html) and what happens then.
FORBIDDEN = {
    "subprocess.Popen": "starts a process",
    "os.fork": "forks",
    "os.forkpty": "forks",
    "os.posix_spawn": "starts a process",
    "os.system": "starts a process",
    "socket.bind": "opens a port",
}

MARKED = re.compile(r"^pytestmark = (\[(.*, )?)?pytest\.mark\.(process|slow)\b", re.M)

SHARED = re.compile(r"^def \w+\([^)]*\b(pipeline|database)\b", re.M)
"""A test or fixture that uses what takes a worker seconds to make: the trained pipeline, or a database of MLflow."""

# Files that take minutes, the longest first. They start first, or one of two workers would idle at the end.
LONGEST = (
    "end_to_end/test_three_ways.py",
    "end_to_end/test_docs_commands.py",
    "end_to_end/test_pipeline_data.py",
    "benchmarks/test_benchmarks.py",
    "training/test_resume.py",
    "launch/test_nodes.py",
    "end_to_end/test_dvc.py",
    "tracking/test_outages.py",
    "benchmarks/test_make_gpu.py",
    "launch/test_processes.py",
    "stages/test_paper_networks.py",
    "models/test_deterministic_ops.py",
    "end_to_end/test_dvc_experiments.py",
    "tracking/test_mlflow.py",
    "end_to_end/test_secrets.py",
    "pipelines/test_submit.py",
    "strategies/test_invariants.py",
    "strategies/test_trials.py",
    "examples/test_examples.py",
)


def is_importing(frame: FrameType | None) -> bool:
    """Return whether an import is at work: what a library starts when it is imported first is no test's doing."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


class Guard:
    """What the current test may do and did, and which shared fixtures start processes or open ports."""

    def __init__(self) -> None:
        self.listens = False
        self.strict = False
        self.allowed = True
        self.deeds: list[str] = []
        self.fixtures: dict[tuple[str, str], str] = {}
        self.earlier_threads: set[int] = set()

    def begin(self, allowed: bool) -> None:
        self.allowed = allowed
        self.deeds = []
        # A thread that an earlier test's server left running is not this test's.
        self.earlier_threads = {thread.ident for thread in threading.enumerate()} - {threading.get_ident()}

    def hear(self, event: str, args: tuple) -> None:
        """Note a forbidden event, and stop it if the test has no mark.

        In a thread it is only noted, and `lane` fails the test: whoever started the thread may wait for it for ever.
        """
        if event not in FORBIDDEN or is_small(event, args) or threading.get_ident() in self.earlier_threads:
            return
        if is_importing(sys._getframe()):
            return
        self.deeds.append(f"{FORBIDDEN[event]} ({event}: {str(args)[:200]})")
        if not self.allowed and threading.current_thread() is threading.main_thread():
            pytest.fail(complain(self.deeds[-1]))

    def complaint_about(self, test: str, fixtures: list[str]) -> str | None:
        """Return a complaint if one of a test's fixtures, set up for an earlier test, is forbidden."""
        for (place, name), deed in self.fixtures.items():
            if name in fixtures and test.startswith(place):
                return complain(f"uses the fixture {name}, which {deed}")
        return None


def is_small(event: str, args: tuple) -> bool:
    """Tell whether it takes milliseconds: git names the commit, ctypes looks for a library, joblib counts cores."""
    if event == "subprocess.Popen":
        executable, command, folder, _ = args
        finds_library = executable in ("/sbin/ldconfig", "ld", "objdump") or "-Wl,-t" in command
        return finds_library or executable == "lscpu" or (executable == "git" and folder == PACKAGE)
    return event == "socket.bind" and isinstance(args[1], str)  # a file


def complain(deed: str) -> str:
    return f"The test {deed}, which the fast lane forbids. Mark it (or its file) with pytest.mark.process."


guard = Guard()


def pytest_configure(config) -> None:
    guard.strict = "not process" in config.option.markexpr
    if guard.listens:  # a test runs pytest inside of this process
        return
    guard.listens = True
    sys.addaudithook(guard.hear)
    # multiprocessing starts processes with a C function that has no audit event.
    start = multiprocessing.util.spawnv_passfds

    def audited(path, args, passfds):
        sys.audit("subprocess.Popen", path, args, None, None)
        return start(path, args, passfds)

    multiprocessing.util.spawnv_passfds = audited


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Spare the fast lane the imports of files without a test for it."""
    if "not process" in config.option.markexpr and "not slow" in config.option.markexpr and is_marked(collection_path):
        return True
    return None


def is_marked(path: Path) -> bool:
    """Return whether a file's own mark keeps all of its tests out of the fast lane."""
    return path.suffix == ".py" and MARKED.search(path.read_text(encoding="utf-8")) is not None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    ranks = {f"tests/{path}": rank for rank, path in enumerate(LONGEST)}
    items.sort(key=lambda item: ranks.get(item.nodeid.partition("::")[0], len(ranks)))


def pytest_collection_finish() -> None:
    """Spare the garbage collector the libraries, which stay: full collections took one second in 25."""
    gc.freeze()


class OneWorkerForShared(LoadFileScheduling):
    """Each file goes to one worker, and all files that use `SHARED` to the same one, which makes it once."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return "shared" if uses_shared(self.config.rootpath / file) else file


@functools.cache
def uses_shared(path: Path) -> bool:
    return SHARED.search(path.read_text(encoding="utf-8")) is not None


def pytest_xdist_make_scheduler(config: pytest.Config, log) -> LoadFileScheduling | None:
    """Give the fast lane its scheduler. In the lane of all tests one worker would have too much of it to do."""
    return OneWorkerForShared(config, log) if guard.strict and config.option.dist == "loadfile" else None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    before = guard.allowed
    guard.begin(not guard.strict or item.get_closest_marker("process") is not None)
    try:
        return (yield)
    finally:
        guard.begin(before)


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef):
    before = len(guard.deeds)
    try:
        return (yield)
    finally:
        if fixturedef.scope != "function" and len(guard.deeds) > before:
            guard.fixtures[fixturedef.baseid, fixturedef.argname] = guard.deeds[before]


@pytest.fixture(autouse=True)
def lane(request):
    """Fail a test of the fast lane that uses a process or a port, even if the code under test hid the failure."""
    if guard.allowed:
        yield
        return
    complaint = guard.complaint_about(request.node.nodeid, request.node.fixturenames)
    if complaint is not None:
        pytest.fail(complaint)
    yield
    if guard.deeds:
        pytest.fail(complain(guard.deeds[0]))
