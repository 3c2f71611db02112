"""The MLflow UI on this machine."""

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
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", uri]
    return subprocess.run([*command, "--host", "127.0.0.1", "--port", str(port)], check=False).returncode
