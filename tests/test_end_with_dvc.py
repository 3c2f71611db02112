"""A stage ends with the `dvc` that started it, and nothing else does."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux's pidfd"),
    pytest.mark.process,
]

STAGE = """
import os, sys, time
from pathlib import Path
from bss.end_with_dvc import end_with_dvc
end_with_dvc()
Path(sys.argv[1] + ".new").write_text(str(os.getpid()))
Path(sys.argv[1] + ".new").rename(sys.argv[1])
time.sleep(60)
"""
# Like DVC: starts the stage in a shell, with the variable in its environment alone.
STARTER = """
import os, subprocess, sys
stage = {**os.environ, **({"DVC_STAGE": "train"} if sys.argv[1] == "dvc" else {})}
command = " ".join([sys.executable, sys.argv[3], sys.argv[4]])
process = subprocess.Popen(["/bin/sh", "-c", sys.argv[2].replace("COMMAND", command)], env=stage)
process.wait()
"""


def _wait(condition, seconds=60):
    for _ in range(int(seconds / 0.05)):
        if condition():
            return True
        time.sleep(0.05)
    return False


def _runs(process):
    """Return whether a process runs; one that has ended may stay in the list until its parent asks for it."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture
def start(tmp_path):
    """Start the stage by what is like `dvc`, or is not; give the starter and the stage's process."""
    (tmp_path / "stage.py").write_text(STAGE)
    started = []

    def start(by, shell):
        out = tmp_path / "out"
        environment = {name: value for name, value in os.environ.items() if name != "DVC_STAGE"}
        starter = subprocess.Popen(
            [sys.executable, "-c", STARTER, by, shell, str(tmp_path / "stage.py"), str(out)],
            env=environment,
            start_new_session=True,
        )
        assert _wait(out.exists)
        stage = int(out.read_text())
        started.append((starter, stage))
        return starter, stage

    yield start
    for starter, stage in started:
        for process in (starter.pid, stage):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        starter.wait()


# Some shells run a single command in their own place, others beside themselves; here both.
SHELLS = ["exec COMMAND", "COMMAND; true"]


@pytest.mark.parametrize("shell", SHELLS)
def test_a_stage_ends_when_the_dvc_that_started_it_is_killed(shell, start):
    starter, stage = start("dvc", shell)
    assert _runs(stage)
    os.kill(starter.pid, signal.SIGKILL)
    assert _wait(lambda: not _runs(stage))


@pytest.mark.parametrize("shell", SHELLS)
def test_what_dvc_did_not_start_keeps_running_when_its_parent_is_killed(shell, start):
    starter, stage = start("nobody", shell)
    os.kill(starter.pid, signal.SIGKILL)
    starter.wait()
    time.sleep(1)
    assert _runs(stage)
