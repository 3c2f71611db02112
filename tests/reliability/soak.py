"""Many short trials in one process tree: memory, file handles and threads do not grow."""

import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

PROGRAM = """
import sys
from pathlib import Path
from bss.config import load_config
from bss.stages.measure import measure
from bss.stages.schedule import schedule
from bss.stages.train import train
if __name__ == "__main__":
    config, store, folder = load_config(Path(sys.argv[1])), Path(sys.argv[2]), Path(sys.argv[3])
    measure(config, store, folder / "scores")
    schedule(config, store, folder / "scores", folder / "plans")
    train(config, store, folder / "scores", folder / "plans", folder / "runs")
"""
DONE = re.compile(r"\[ *\d+/\d+\] .*: val .* test ")
PAGE_KIB = 4
WARM_UP = 0.3
"""Share of the trials that come before the line is fitted."""
KIB_PER_TRAINING, HANDLES_PER_TRAINING, THREADS_PER_TRAINING = 100.0, 0.05, 0.02
"""What the fitted line may rise by at most, over all processes of the tree together."""


class Usage(NamedTuple):
    """Of a process and all that it has started."""

    kib: int
    handles: int
    threads: int


class Growth(NamedTuple):
    """Slopes of the fitted lines, per trial, and what was used at the end."""

    kib: float
    handles: float
    threads: float
    last: Usage
    trials: int


def soak(params: Path, store: Path, folder: Path) -> Growth:
    """Train all that `params` asks for in one process tree, and fit lines to what it uses after a warm-up."""
    (folder / "program.py").write_text(PROGRAM)
    command = [sys.executable, "-u", str(folder / "program.py"), str(params), str(store), str(folder)]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    usages: list[Usage] = []
    seen: list[str] = []
    for line in process.stdout:
        seen.append(line)
        if DONE.match(line):
            usages.append(usage(process.pid))
    assert process.wait() == 0, "".join(seen[-40:])
    return fit(usages)


def fit(usages: list[Usage]) -> Growth:
    """Return the slopes of the lines through `usages` behind the warm-up."""
    # The workers of the pool end one by one with the last trials.
    steady = np.array(usages[int(WARM_UP * len(usages)) : -4], dtype=float)
    slopes: npt.NDArray[np.float64] = np.polyfit(np.arange(len(steady)), steady, 1)[0]
    return Growth(*(float(slope) for slope in slopes), last=usages[-5], trials=len(usages))


def check(growth: Growth) -> None:
    """Raise `AssertionError` if something grows."""
    assert growth.kib <= KIB_PER_TRAINING, growth
    assert growth.handles <= HANDLES_PER_TRAINING, growth
    assert growth.threads <= THREADS_PER_TRAINING, growth


def usage(process: int) -> Usage:
    """Return what `process` and its descendants use now."""
    tree = [process, *_descendants(process)]
    found = [_one(number) for number in tree]
    return Usage(*(sum(values) for values in zip(*found, strict=True)))


def _descendants(process: int) -> list[int]:
    try:
        threads = list(Path(f"/proc/{process}/task").iterdir())
        children = [int(child) for thread in threads for child in (thread / "children").read_text().split()]
    except OSError:
        return []
    return [number for child in children for number in (child, *_descendants(child))]


def _one(process: int) -> Usage:
    folder = Path(f"/proc/{process}")
    try:
        kib = int((folder / "statm").read_text().split()[1]) * PAGE_KIB
        return Usage(kib, len(list((folder / "fd").iterdir())), len(list((folder / "task").iterdir())))
    except OSError:  # it has just ended
        return Usage(0, 0, 0)
