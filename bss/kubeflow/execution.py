"""The MLflow run shared by all steps of one pipeline run.

Kubeflow reuses a trial with the same inputs, so the id of the MLflow run cannot be one of them. The
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
STATUS = {
    **{"COMPLETE": "FINISHED", "CACHED": "FINISHED", "SUCCEEDED": "FINISHED"},
    **{"CANCELED": "KILLED", "CANCELLED": "KILLED"},
    **{"UNKNOWN": "KILLED", "NEW": "KILLED", "RUNNING": "KILLED"},
}
"""What an exit handler reads as the state of its steps, to MLflow's status of a run that no step has ended.

The backend gives the state that ML Metadata has of the steps: UNKNOWN, NEW, RUNNING, COMPLETE, FAILED, CACHED or
CANCELED (kfp 2.17.0, backend/src/v2/driver/resolve.go and ml_metadata/proto/metadata_store.proto in third_party);
kfp's local runner gives SUCCEEDED, FAILED or CANCELLED, as its documentation has it. RUNNING is no proof of a failure:
the backend leaves it so after a success in which a loop reused a step. But if the comparison has not ended the run,
nothing but a killed pod or a terminated run leaves it. Any other word is FAILED.
"""
OPEN = ("RUNNING", "SCHEDULED")
"""MLflow's states of a run that has not ended."""


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
        _continue_without(error, config)
        return None
    return execution


def _continue_without(error: BssError, config: Config) -> None:
    """Print that a step continues without MLflow; raise `error` if tracking.strict is true."""
    if config.tracking.strict:
        raise error
    print(f"{error}\nThis step continues without MLflow; the step compare logs what is missing.", flush=True)


def find_execution(address: str) -> Execution | None:
    """Return the MLflow run of this pipeline run, or None.

    Raises `BssError` if no server answers at `address`.
    """
    found = _find(address)
    return None if found is None else found[0]


def _find(address: str) -> tuple[Execution, str] | None:
    """Return the MLflow run of this pipeline run and its status there, as `find_execution` does."""
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
            execution = Execution(address, experiment, run.data.tags[RECORD_TAG], run.info.run_name, tags)
            return execution, str(run.info.status)
    return None


def join_execution(config: Config, given: str) -> Execution | None:
    """Return the MLflow run of this pipeline run for a trial; None if tracking is off.

    Also None, with a message, if the server does not answer or has no such run and tracking.strict is
    false: the comparison logs such a trial.
    """
    if not config.tracking.enabled:
        return None
    address, own = tracking_address(given), run_id()
    try:
        execution = find_execution(address)
        if execution is None:
            raise BssError(f"MLflow at {redact(address)}: no run for the pipeline run {own}. Was it deleted?")
    except BssError as error:
        _continue_without(error, config)
        return None
    return execution


def end_finished(config: Config, execution: Execution) -> None:
    """End the MLflow run of this pipeline run as FINISHED, for the last step that its success needs.

    If the server does not answer, one line reports it and the step finish tries again; with tracking.strict it is
    raised as `BssError`.
    """
    try:
        _end(execution, "FINISHED")
    except BssError as error:
        _continue_without(error, config)


def end(given: str, state: str) -> str:
    """End the MLflow run of this pipeline run unless a step has ended it; return what was done.

    `state` is what Kubeflow says of the steps, a key of `STATUS` or FAILED. A run that the comparison ended as
    FINISHED stays so.
    """
    address = given or os.environ.get("MLFLOW_TRACKING_URI")
    try:
        found = _find(address) if address else None
        if found is None:
            return "There is no MLflow run to end."
        execution, status = found
        if status in OPEN:
            status = STATUS.get(state, "FAILED")
            _end(execution, status)
    except BssError as error:  # the pipeline run is what it is, recorded or not
        return str(error)
    return f"MLflow run {execution.name}: {status}"


def _end(execution: Execution, status: str) -> None:
    with tempfile.TemporaryDirectory() as spool:
        continue_execution(Path(spool), execution).append("end", status=status)
        require_sent(Path(spool), execution.tracking_uri)
