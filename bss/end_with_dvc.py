"""End with DVC: a stage whose `dvc` was killed must not keep writing files that the next `dvc repro` starts over.

DVC starts a stage as a child in a shell and, killed by SIGKILL, leaves it running. The kernel's own signal for the
death of a parent (PR_SET_PDEATHSIG) covers only the direct parent, which may be that shell, and the death of
the thread that started us. So we watch the process that runs DVC: the nearest ancestor without the variable
DVC_STAGE, which only DVC sets, for its stages. A process that DVC did not start has no such variable and is
left alone: `nohup` and `setsid` keep working after their shell exits.
"""

import os
import select
import signal
import threading
from pathlib import Path

VARIABLE = "DVC_STAGE"


def end_with_dvc() -> None:
    """Send this process SIGTERM when the `dvc` that started it as a stage ends; otherwise do nothing.

    A trial then saves its state, as on any SIGTERM. Without Linux's /proc and pidfd nothing is watched.
    """
    dvc = _find_dvc() if os.environ.get(VARIABLE) else None
    if dvc is None or not hasattr(os, "pidfd_open"):
        return
    try:
        handle = os.pidfd_open(dvc)
    except OSError:  # it has exited already, or the kernel has no pidfd
        if not Path(f"/proc/{dvc}").exists():
            os.kill(os.getpid(), signal.SIGTERM)
        return
    threading.Thread(target=_end_after, args=(handle,), name="end with dvc", daemon=True).start()


def _end_after(handle: int) -> None:
    # Becomes readable when the process ends, even if its number is reused.
    select.select([handle], [], [])
    os.kill(os.getpid(), signal.SIGTERM)


def _find_dvc() -> int | None:
    """Return the nearest ancestor that is not a stage, DVC itself; None if that cannot be determined."""
    mark = f"{VARIABLE}={os.environ[VARIABLE]}".encode()
    process = os.getppid()
    try:
        while process > 1:
            if mark not in Path(f"/proc/{process}/environ").read_bytes().split(b"\0"):
                return process
            # The program's name is in brackets and may contain any characters.
            process = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, ValueError, IndexError):  # no /proc, or another user's process
        return None
    return None
