"""Children that do not import torch, MLflow, DVC and kfp again: forks of a process that has (forks/server.py).

A test that needs true processes, but not their start, gives them `variables`. Each has its own environment, folder,
streams, signals and exit status; it shares with the others the seed of its string hashes and the libraries.
"""

import atexit
import functools
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

FORKS = Path(__file__).with_name("forks")

LIBRARIES = (
    "torch",
    "torch._dynamo",  # torch imports it in a trial's first step
    "torch.distributed",
    "alembic.command",
    "dvc.api",
    "dvc.cli.parser",
    "dvc_s3",
    "mlflow",
    "mlflow.pyfunc",
    "mlflow.store.tracking.sqlalchemy_store",
    "kfp.compiler",
    "kfp.dsl.executor",
    "kfp.local",
    "boto3",
    "matplotlib.figure",
    "pandas",
    "PIL.Image",
    "pyarrow.parquet",
    "ruamel.yaml",
    "s3fs",
    "scipy.stats",
    "scmrepo.git",
    "sklearn.metrics",
    "soundfile",
)


@functools.cache
def start(libraries: tuple[str, ...] = LIBRARIES) -> str:
    """Start the server of this process, which ends with it; return its address."""
    address = f"{tempfile.mkdtemp(prefix='bss-forks-')}/server"
    # Its standard input is a pipe of this process's, so it ends however this process does.
    server = subprocess.Popen(
        [sys.executable, FORKS / "server.py", address, *libraries], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
        env={name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "AWS_"))},
    )  # fmt: skip
    while not Path(address).exists():
        assert server.poll() is None
        time.sleep(0.01)
    servers.append(server)
    atexit.register(stop, server)
    return address


def stop(server: subprocess.Popen[bytes]) -> None:
    """End a server, and have its time counted as this process's."""
    assert server.stdin is not None
    server.stdin.close()
    server.wait()


servers: list[subprocess.Popen[bytes]] = []


def variables(folder: Path, libraries: tuple[str, ...] = LIBRARIES) -> dict[str, str]:
    """Return the variables with which `bss`, `dvc` and the steps of the pipeline run `folder`'s code in forks."""
    return {"BSS_FORK_SERVER": start(libraries), "PYTHONPATH": f"{FORKS / 'client'}{os.pathsep}{folder}"}
