"""The MLflow run that all steps of one pipeline run share.

Kubeflow reuses a training whose inputs are the same, so the id of the MLflow run cannot be one of them. The
steps find it by the id of the pipeline run, which each pod has in its environment.
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
"""Kubeflow's final state to MLflow's; all others are FAILED."""


def run_id() -> str:
    """Return the id of the Kubeflow run this process belongs to; `BssError` where the environment has none."""
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
            "mlflow_tracking_uri: not given, and the secret has no MLFLOW_TRACKING_URI. Name the server, or "
            "override tracking.enabled=false."
        )
    return address


def open_or_find(config: Config, name: str, address: str, tags: dict[str, str]) -> Execution | None:
    """Return the MLflow run of this pipeline run; a step that is tried again finds the one of its first try.

    None, and a line that says so, where nobody answers and tracking.strict is false.
    """
    own = run_id()
    try:
        execution = find_execution(address)
        if execution is None:
            with tempfile.TemporaryDirectory() as spool:
                # The same name in every try, so that they cannot make two.
                record, all_tags = digest_json(own)[:32], {**tags, RUN_TAG: own}
                execution, _ = open_execution(Path(spool), config, name, address, all_tags, record)
                require_sent(Path(spool), address)
    except BssError as error:
        _go_on_without(error, config)
        return None
    return execution


def _go_on_without(error: BssError, config: Config) -> None:
    """Say that a step goes on without MLflow; raise `error` where tracking.strict is true."""
    if config.tracking.strict:
        raise error
    print(f"{error}\nThis step goes on without MLflow; the step compare logs what is missing there.", flush=True)


def find_execution(address: str) -> Execution | None:
    """Return the MLflow run of this pipeline run, or None where there is none.

    Raises `BssError` if nobody answers at `address`.
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

    None too, and a line that says so, where the server does not answer or has no such run and tracking.strict is
    false: the comparison logs such a training.
    """
    if not config.tracking.enabled:
        return None
    address, own = tracking_address(given), run_id()
    try:
        execution = find_execution(address)
        if execution is None:
            raise BssError(f"MLflow at {redact(address)}: has no run of the pipeline run {own}. Was it deleted?")
    except BssError as error:
        _go_on_without(error, config)
        return None
    return execution


def end(given: str, state: str) -> str:
    """End the MLflow run of this pipeline run, if there is one; `state` is Kubeflow's. Returns what was done."""
    address = given or os.environ.get("MLFLOW_TRACKING_URI")
    status = STATUS.get(state, "FAILED")
    try:
        execution = find_execution(address) if address else None
        if execution is None or address is None:
            return "There is no MLflow run to end."
        with tempfile.TemporaryDirectory() as spool:
            continue_execution(Path(spool), execution).append("end", status=status)
            require_sent(Path(spool), address)
    except BssError as error:  # the pipeline run is what it is, recorded or not
        return str(error)
    return f"MLflow run {execution.name}: {status}"
