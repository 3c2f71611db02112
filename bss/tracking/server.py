"""The MLflow UI on this machine."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from bss.redact import redact
from bss.tracking.destination import connect, tracking_uri
from bss.tracking.view import SHARED_VIEW, VIEW, runs_page

GRACE_SECONDS = 10
"""Seconds for the server to stop on its own."""
WITHOUT_JOBS = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
"""MLflow's jobs evaluate language models: eight processes beside the server, each of which imports all of MLflow."""


def run_ui(port: int) -> int:
    """Show the tracking store at 127.0.0.1:`port` until Ctrl-C or SIGTERM; return the exit status.

    It prints the page that lists the runs of the newest experiment. It listens on the loopback address only: nobody
    else on the network sees it. The server and its workers end with this call.
    """
    uri = tracking_uri()
    if uri.startswith(("http://", "https://")):
        page = runs_page(redact(uri), None)
        print(f"MLFLOW_TRACKING_URI is a server; open it in a browser: {page}")
        return 0
    page = runs_page(f"http://127.0.0.1:{port}", _newest_experiment(uri))
    print(f"MLflow UI of {redact(uri)}: {page} (stop with Ctrl-C)", flush=True)
    command = [sys.executable, "-m", "mlflow", "ui", "--host", "127.0.0.1", "--port", str(port)]
    # Not on the command line, which all local users can see: it may contain the database password.
    environment = {**WITHOUT_JOBS, **os.environ, "MLFLOW_BACKEND_STORE_URI": uri}
    process = subprocess.Popen(command, env=environment, start_new_session=True)
    try:
        return process.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        _end(process)


def _newest_experiment(uri: str) -> str | None:
    """Return the id of the experiment that was compared or trained last, of those with the view; None if none has."""
    if uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///")).is_file():
        return None
    try:
        found = connect(uri).search_experiments(order_by=["last_update_time DESC"])
    except Exception:  # the server, which starts next, says what is wrong with the store
        return None
    return next((str(e.experiment_id) for e in found if f"{SHARED_VIEW}{VIEW}" in e.tags), None)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Stop the process and all its children, which form their own session."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_SECONDS)
