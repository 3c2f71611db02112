"""Ending with DVC: a stage whose `dvc` was killed must not go on writing what the next `dvc repro` begins anew.

DVC starts a stage as a child in a shell and, killed by SIGKILL, leaves it running. The kernel's own signal for the
death of a parent (PR_SET_PDEATHSIG) tells of the direct parent alone, which may be that shell, and of the death of
the thread that started us. So the process is watched that runs DVC: the nearest ancestor without the variable
DVC_STAGE, which DVC sets for a stage and nobody else. A process that DVC did not start has no such variable and is
left alone: what `nohup` or `setsid` started goes on when its shell has gone.
"""

import os
import select
import signal
import threading
from pathlib import Path

VARIABLE = "DVC_STAGE"


def end_with_dvc() -> None:
    """Send this process SIGTERM when the `dvc` that started it as a stage ends; else do nothing.

    A training then saves where it stands, as for any SIGTERM. Without Linux's /proc and pidfd nothing is watched.
    """
    dvc = _find_dvc() if os.environ.get(VARIABLE) else None
    if dvc is None or not hasattr(os, "pidfd_open"):
        return
    try:
        handle = os.pidfd_open(dvc)
    except OSError:  # it has gone already, or the kernel knows no such handles
        if not Path(f"/proc/{dvc}").exists():
            os.kill(os.getpid(), signal.SIGTERM)
        return
    threading.Thread(target=_end_after, args=(handle,), name="end with dvc", daemon=True).start()


def _end_after(handle: int) -> None:
    # Becomes readable when the process has ended, whatever its number is given to afterwards.
    select.select([handle], [], [])
    os.kill(os.getpid(), signal.SIGTERM)


def _find_dvc() -> int | None:
    """Return the nearest ancestor that runs no stage: DVC itself; None where that cannot be told."""
    mark = f"{VARIABLE}={os.environ[VARIABLE]}".encode()
    process = os.getppid()
    try:
        while process > 1:
            if mark not in Path(f"/proc/{process}/environ").read_bytes().split(b"\0"):
                return process
            # The name of the program stands in brackets, and may hold any letters.
            process = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, ValueError, IndexError):  # no /proc, or a process of somebody else
        return None
    return None
