"""The MLflow run shared by all steps of one pipeline run.

Kubeflow reuses a training with the same inputs, so the id of the MLflow run cannot be one of them. The
steps find it by the id of the pipeline run, which is in each pod's environment.
"""

import os
import tempfile
from pathlib import Path

from bss.config import Config
from bss.errors import BssError
from bss.files import digest_json
from bss.launch.pods import RUN_ID
from bss.redact import redact
from bss.tracking.destination import connect, unreachable
from bss.tracking.execution import Execution, continue_execution, open_execution
from bss.tracking.replay import PARENT_TAG, RECORD_TAG
from bss.tracking.sender import require_sent

RUN_TAG, IMAGE_TAG = "bss.kfp_run_id", "bss.image"
STATUS = {"SUCCEEDED": "FINISHED", "CANCELLED": "KILLED"}
"""Maps Kubeflow's final state to MLflow's; all others become FAILED."""


def run_id() -> str:
    """Return the id of this process's Kubeflow run; raise `BssError` if the environment has none."""
    value = os.environ.get(RUN_ID)
    if not value:
        raise BssError(f"{RUN_ID}: not set. The pipeline sets it from the pod's label pipeline/runid.")
    return value


def tracking_address(given: str) -> str:
    """Return the MLflow address: the pipeline's parameter, or the environment's MLFLOW_TRACKING_URI.

    Raises `BssError` if there is neither: records in a pod's own folder would be lost with it.
    """
    address = given or os.environ.get("MLFLOW_TRACKING_URI")
    if not address:
        raise BssError(
            "mlflow_tracking_uri: missing, and the secret has no MLFLOW_TRACKING_URI. Set the server's URL, or "
            "override tracking.enabled=false."
        )
    return address


def open_or_find(config: Config, name: str, address: str, tags: dict[str, str]) -> Execution | None:
    """Return the MLflow run of this pipeline run; a retried step finds the one from its first attempt.

    If the server does not answer and tracking.strict is false, prints that and returns None.
    """
    own = run_id()
    try:
        execution = find_execution(address)
        if execution is None:
            with tempfile.TemporaryDirectory() as spool:
                # The same name in every attempt, so that retries cannot create two.
                record, all_tags = digest_json(own)[:32], {**tags, RUN_TAG: own}
                execution, _ = open_execution(Path(spool), config, name, address, all_tags, record)
                require_sent(Path(spool), address)
    except BssError as error:
        _go_on_without(error, config)
        return None
    return execution


def _go_on_without(error: BssError, config: Config) -> None:
    """Print that a step continues without MLflow; raise `error` if tracking.strict is true."""
    if config.tracking.strict:
        raise error
    print(f"{error}\nThis step continues without MLflow; the step compare logs what is missing.", flush=True)


def find_execution(address: str) -> Execution | None:
    """Return the MLflow run of this pipeline run, or None.

    Raises `BssError` if no server answers at `address`.
    """
    own = run_id()
    try:
        client = connect(address)
        experiments = {e.experiment_id: e.name for e in client.search_experiments()}
        found = client.search_runs(list(experiments), f"tags.`{RUN_TAG}` = '{own}'", order_by=["attributes.start_time"])
    except Exception as error:
        raise unreachable(address, error) from error
    for run in found:
        if PARENT_TAG not in run.data.tags:
            tags = {tag: run.data.tags[tag] for tag in (RUN_TAG, IMAGE_TAG) if tag in run.data.tags}
            experiment = experiments[run.info.experiment_id]
            return Execution(address, experiment, run.data.tags[RECORD_TAG], run.info.run_name, tags)
    return None


def join_execution(config: Config, given: str) -> Execution | None:
    """Return the MLflow run of this pipeline run for a training; None if tracking is off.

    Also None, with a message, if the server does not answer or has no such run and tracking.strict is
    false: the comparison logs such a training.
    """
    if not config.tracking.enabled:
        return None
    address, own = tracking_address(given), run_id()
    try:
        execution = find_execution(address)
        if execution is None:
            raise BssError(f"MLflow at {redact(address)}: no run for the pipeline run {own}. Was it deleted?")
    except BssError as error:
        _go_on_without(error, config)
        return None
    return execution


def end(given: str, state: str) -> str:
    """End the MLflow run of this pipeline run, if any; `state` is Kubeflow's. Returns a description."""
    address = given or os.environ.get("MLFLOW_TRACKING_URI")
    status = STATUS.get(state, "FAILED")
    try:
        execution = find_execution(address) if address else None
        if execution is None or address is None:
            return "There is no MLflow run to end."
        with tempfile.TemporaryDirectory() as spool:
            continue_execution(Path(spool), execution).append("end", status=status)
            require_sent(Path(spool), address)
    except BssError as error:  # failing to record must not change the pipeline run's outcome
        return str(error)
    return f"MLflow run {execution.name}: {status}"
