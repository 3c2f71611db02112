"""Running a command as a process of its own: how long it takes, and how much memory at most."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).parents[1]
BSS = "import sys; from bss.cli import main; sys.exit(main(sys.argv[1:]))"
"""The command line as a program: nothing needs to be installed."""

TELL_PEAK = """
def tell_peak():
    from pathlib import Path
    print(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])

import atexit
atexit.register(tell_peak)
"""
"""The parent's getrusage of a child includes the parent's own memory until the child's program starts."""


@dataclass(frozen=True)
class Ran:
    """What a process took."""

    seconds: float
    peak_bytes: float
    """Resident memory at most."""
    output: str


def run_python(program: str, arguments: Sequence[object] = (), folder: Path | None = None) -> Ran:
    """Run the Python `program` with `arguments` in `folder`; RuntimeError with what it printed where it fails."""
    python_path = os.pathsep.join(filter(None, [str(PROJECT), os.environ.get("PYTHONPATH")]))
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", TELL_PEAK + program, *map(str, arguments)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": python_path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - started
    if done.returncode != 0:
        raise RuntimeError(f"a process ended with {done.returncode}:\n{done.stdout}")
    output, _, peak = done.stdout.rstrip().rpartition("\n")
    return Ran(seconds, 1024 * float(peak), output)
