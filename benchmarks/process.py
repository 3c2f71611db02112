"""Running a command as a process of its own: how long it takes, and how much memory at most."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Ran:
    """What a process took."""

    seconds: float
    peak_bytes: float
    output: str


def run_python(arguments: Sequence[str], folder: Path | None = None) -> Ran:
    """Run Python with `arguments` in `folder`; RuntimeError with what it printed where it fails."""
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path) or str(Path.cwd())},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stdout.close()
    if process.returncode != 0:
        raise RuntimeError(f"{' '.join(arguments)} ended with {process.returncode}:\n{output}")
    return Ran(time.perf_counter() - started, usage.ru_maxrss * 1024, output)
