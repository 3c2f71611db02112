"""The MLflow UI on this machine."""

import os
import subprocess
import sys

from bss.addresses import redact
from bss.tracking.destination import tracking_uri


def run_ui(port: int) -> int:
    """Show the tracking store at 127.0.0.1:`port` until it is stopped; return the exit status.

    It listens on the loopback address only: nobody else on the network sees it.
    """
    uri = tracking_uri()
    if uri.startswith(("http://", "https://")):
        print(f"MLFLOW_TRACKING_URI names a server, open it in a browser: {redact(uri)}")
        return 0
    print(f"MLflow UI of {redact(uri)}: http://127.0.0.1:{port} (Ctrl-C ends it)", flush=True)
    command = [sys.executable, "-m", "mlflow", "ui", "--host", "127.0.0.1", "--port", str(port)]
    # Not on the command line, which everybody on this machine can see: it may hold the database's password.
    environment = {**os.environ, "MLFLOW_BACKEND_STORE_URI": uri}
    return subprocess.run(command, env=environment, check=False).returncode
