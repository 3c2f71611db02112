"""Run the pipeline on this machine with kfp's local runners, each step as a process or a container."""

import builtins
import os
import re
import uuid
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bss.errors import BssError
from bss.kubeflow.environment import SECRET_VARIABLES
from bss.kubeflow.start import RESOLVED, resolve_config
from bss.launch.pods import RUN_ID
from bss.remote.s3_files import SCHEME
from pipelines.cluster import Cluster, Retries
from pipelines.containers import connect, find_image, run_container
from pipelines.pipeline import build_pipeline

PROCESSES = "none"
"""Placeholder image for steps that run as processes."""


def tracking_address(arguments: Mapping[str, Any], root: Path) -> str:
    """Return the MLflow URI for the steps of a run below `root`: the pipeline's parameter, or a database in `root`."""
    return arguments.get("mlflow_tracking_uri") or f"sqlite:///{root.resolve()}/mlflow.db"


def run_local(arguments: Mapping[str, Any], root: Path, image: str | None = None, shards: int = 1) -> Path:
    """Run the pipeline with `arguments` (its parameters except the image); return the folder of the report.

    With `image` each step runs in a container, otherwise as a process. With several `shards`, preparation is
    split into as many steps, two of which run concurrently. All outputs go below `root`, with
    MLflow's records at `tracking_address`. Steps whose inputs are the
    same as in an earlier run below `root` are reused. Raises `BssError` if a step fails.
    """
    from kfp import local

    root = root.resolve()
    root.mkdir(parents=True, exist_ok=True)
    address = tracking_address(arguments, root)
    run_id = str(uuid.uuid4())
    config = resolve_config(*(arguments[name] for name in RESOLVED))
    if image is not None:
        # The steps need no network unless data or MLflow are remote: nothing is installed at run time.
        local_data = not arguments.get("data_repository") and not config.prepare.root.startswith(SCHEME)
        offline = local_data and address.startswith("sqlite:") and not arguments.get("before")
        place = _docker(local, root, image, run_id, offline)
    else:
        place = _subprocess(local, run_id)
    before = set(root.iterdir())
    with place as chosen, _own_print(), warnings.catch_warnings():
        # Silence the warnings that images and cluster resources have no effect here.
        warnings.filterwarnings("ignore", category=RuntimeWarning, module="kfp")
        warnings.filterwarnings("ignore", category=UserWarning, module="kfp")
        local.init(chosen, pipeline_root=str(root), enable_caching=True)
        try:
            # No retries: on this machine a step would fail for the same reason again.
            cluster = Cluster(prepare_shards=shards, retries=Retries(count=0))
            build_pipeline(cluster, arguments["parameters"], config.train.nodes, config.audit.enabled)(
                **dict(arguments) | {"image": image or PROCESSES, "mlflow_tracking_uri": address}
            )
        except RuntimeError as error:
            message = re.sub(r"\x1b\[\d+m", "", str(error))  # kfp colours it even without a terminal
            raise BssError(f"{message} See the step's log above.") from error
    (folder,) = [path for path in set(root.iterdir()) - before if path.name.startswith("bss-")]
    return folder / "compare" / "report"


@contextmanager
def _own_print() -> Iterator[None]:
    """Restore `print` at the end: kfp 2.17 indents it while a step runs and, if two overlap, may leave it so."""
    before = builtins.print
    try:
        yield
    finally:
        builtins.print = before


@contextmanager
def _subprocess(local: Any, run_id: str) -> Iterator[Any]:
    """Yield the process runner; processes inherit the environment."""
    before = os.environ.get(RUN_ID)
    os.environ[RUN_ID] = run_id
    try:
        yield local.SubprocessRunner(use_venv=False)
    finally:
        if before is None:
            del os.environ[RUN_ID]
        else:
            os.environ[RUN_ID] = before


@contextmanager
def _docker(local: Any, root: Path, image: str, run_id: str, offline: bool) -> Iterator[Any]:
    """Yield the container runner, with our own function to run one."""
    from kfp.local import docker_task_handler

    client = connect()
    user = _user(find_image(client, image), root)
    settings: dict[str, Any] = {
        "environment": {RUN_ID: run_id, "HOME": "/tmp", **secret_values()},
        "shm_size": "1g",
        "user": user,
    }
    # Otherwise the steps see this machine's own services, as processes would.
    settings["network_mode"] = "none" if offline else "host"

    def run(client: Any, image: str, command: Any, volumes: Any, **given: Any) -> int:
        return run_container(client, chosen, command, volumes, **given)

    # The step's image is the pipeline's parameter, which kfp.local leaves unresolved.
    chosen, theirs = image, docker_task_handler.run_docker_container
    docker_task_handler.run_docker_container = run
    try:
        yield local.DockerRunner(**settings)
    finally:
        docker_task_handler.run_docker_container = theirs
        client.close()


def _user(image: Any, root: Path) -> str:
    """Return the user of the containers: the current one, or the image's own if the current one is root."""
    if os.getuid() != 0:
        return f"{os.getuid()}:{os.getgid()}"
    user = str(image.attrs["Config"]["User"] or "0")
    if user.isdigit():
        os.chown(root, int(user), 0)
    return user


def secret_values() -> dict[str, str]:
    """Return the variables of this environment that a cluster's secret would hold, by their names in pods."""
    return {name: os.environ[key] for key, name in SECRET_VARIABLES.items() if key in os.environ}
