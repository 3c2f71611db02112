"""A real MLflow server for tests."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager, suppress

from bss.tracking.server import WITHOUT_JOBS


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answers(process, port):
    """Wait until a server answers; return whether it does, or has ended because another process took its port."""
    for _ in range(3000):  # five minutes: importing MLflow alone takes one on a busy machine
        if process.poll() is not None:
            return False
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=10):
                return True
        except OSError:
            time.sleep(0.1)
    return False


@contextmanager
def mlflow_server(folder, database):
    """Give the port of a server on the loopback address whose data is in `folder`; it starts with a copy of `database`.

    `database` is a file. Without it MLflow would go through all its migrations.
    """
    shutil.copy(database, folder / "db")
    data = ["--backend-store-uri", f"sqlite:///{folder}/db", "--artifacts-destination", str(folder / "artifacts")]
    for _ in range(3):
        port = free_port()
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), *data]
        command += ["--workers", "1"]
        process = subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env=os.environ | WITHOUT_JOBS,
        )
        try:
            if answers(process, port):
                yield port
                return
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, 9)
            process.wait()
    raise AssertionError("the MLflow server did not answer")
