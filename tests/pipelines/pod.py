"""What starts a step on a cluster and stands between it and the signal that stops its pod, for tests in containers.

``python3 pod.py emissary python3 pod.py launcher COMMAND...`` behaves towards signals as their sources say: the
`emissary` of Argo Workflows 3.5 to 4.1 (cmd/argoexec/commands/emissary.go, workflow/executor/osspecific), PID 1 of the
container, and the `launcher` of Kubeflow Pipelines 2 (backend/src/v2/component/interfaces.go). Both are in Go.
"""

import os
import signal
import subprocess
import sys
import time

DROPPED = {signal.SIGCHLD, signal.SIGURG}
"""Signals that the emissary does not pass on."""
CANNOT_BE_CAUGHT = {signal.SIGKILL, signal.SIGSTOP}


def emissary(command: list[str]) -> int:
    """Run `command`; pass signals on; look once a second whether it has ended, and end then, whoever still runs."""
    if os.getpid() != 1:
        sys.exit("pod.py: emissary signals all processes that there are: only as PID 1 of a container")
    for number in signal.valid_signals() - DROPPED - CANNOT_BE_CAUGHT:
        # It releases the process that it started, whose number is -1 from then on: kill reaches all of the container.
        signal.signal(number, lambda number, frame: os.kill(-1, number))
    child = subprocess.Popen(command, process_group=0).pid
    while True:
        ended, status = os.waitpid(-1, os.WNOHANG)
        if ended == child:
            status = os.waitstatus_to_exitcode(status)
            return status if status >= 0 else 128 - status
        time.sleep(1)


def launcher(command: list[str]) -> int:
    """Run `command` and wait for it. Go's runtime ends the program on SIGTERM, and takes no notice of SIGUSR1."""
    signal.signal(signal.SIGUSR1, lambda number, frame: None)
    status = subprocess.run(command, check=False).returncode
    if status != 0:
        print(f"launcher: failed to execute component: exit status {status}", flush=True)
    return min(abs(status), 1)


if __name__ == "__main__":
    sys.exit({"emissary": emissary, "launcher": launcher}[sys.argv[1]](sys.argv[2:]))
