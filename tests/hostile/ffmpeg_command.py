"""The ffmpeg command: another version of FFmpeg than the library that bss has, for many files in one process."""

import subprocess
from pathlib import Path
from typing import NamedTuple

AT_ONCE = 24
"""Files that one process decodes: starting it costs far more than decoding a small file."""


class Job(NamedTuple):
    """One file to decode."""

    path: Path
    input: tuple[str, ...]
    """Options before ``-i``."""
    output: tuple[str, ...]
    """Options of what is written."""


def decode_by_command(jobs: list[Job], folder: Path) -> list[bytes]:
    """Return what the command writes for each of `jobs`, with errors concealed as players do; b"" if it refuses one."""
    written = []
    for start in range(0, len(jobs), AT_ONCE):
        batch = jobs[start : start + AT_ONCE]
        found = _run(batch, folder)
        # One file that it cannot open, or that stops it, stops it for all.
        written += found if all(found) else [_run([job], folder)[0] for job in batch]
    return written


def _run(jobs: list[Job], folder: Path) -> list[bytes]:
    command: list[object] = ["ffmpeg", "-v", "quiet", "-nostdin", "-y"]
    for job in jobs:
        command += ["-threads", "1", *job.input, "-i", job.path]
    targets = [folder / f"{number}.decoded" for number in range(len(jobs))]
    for number, (job, target) in enumerate(zip(jobs, targets, strict=True)):
        target.unlink(missing_ok=True)
        command += [part.replace("INPUT", str(number)) for part in job.output] + [target]
    done = subprocess.run(command, check=False, timeout=120)
    if done.returncode and len(jobs) > 1:
        return [b""] * len(jobs)
    return [target.read_bytes() if target.exists() else b"" for target in targets]
