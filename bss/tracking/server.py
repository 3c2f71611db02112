"""The MLflow UI on this machine."""

import os
import signal
import subprocess
import sys
from contextlib import suppress

from bss.redact import redact
from bss.tracking.destination import tracking_uri

GRACE_SECONDS = 10
"""Seconds for the server to stop on its own."""


def run_ui(port: int) -> int:
    """Show the tracking store at 127.0.0.1:`port` until Ctrl-C or SIGTERM; return the exit status.

    It listens on the loopback address only: nobody else on the network sees it. The server and its workers end
    with this call.
    """
    uri = tracking_uri()
    if uri.startswith(("http://", "https://")):
        print(f"MLFLOW_TRACKING_URI is a server; open it in a browser: {redact(uri)}")
        return 0
    print(f"MLflow UI of {redact(uri)}: http://127.0.0.1:{port} (stop with Ctrl-C)", flush=True)
    command = [sys.executable, "-m", "mlflow", "ui", "--host", "127.0.0.1", "--port", str(port)]
    # Not on the command line, which all local users can see: it may contain the database password.
    environment = {**os.environ, "MLFLOW_BACKEND_STORE_URI": uri}
    process = subprocess.Popen(command, env=environment, start_new_session=True)
    try:
        return process.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Stop the process and all its children, which form their own session."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_SECONDS)
