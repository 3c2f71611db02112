"""The MLflow run that all steps of one pipeline run share.

Kubeflow reuses a training whose inputs are the same, so the id of the MLflow run cannot be one of them. The
steps find it by the id of the pipeline run, which each pod has in its environment.
"""

import os

from bss.config import Config
from bss.errors import BssError
from bss.tracking.destination import quiet_mlflow, unreachable
from bss.tracking.runs import Execution, end_execution, open_execution
from bss.training.pods import RUN_ID

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

    Raises `BssError` where there is neither: records in a pod's own folder would be lost with it.
    """
    address = given or os.environ.get("MLFLOW_TRACKING_URI")
    if not address:
        raise BssError(
            "mlflow_tracking_uri: not given, and the secret has no MLFLOW_TRACKING_URI. Name the server, or "
            "override tracking.enabled=false."
        )
    return address


def open_or_find(config: Config, name: str, address: str, tags: dict[str, str]) -> Execution:
    """Return the MLflow run of this pipeline run; a step that is tried again finds the one of its first try."""
    return find_execution(address) or open_execution(config, name, address, {**tags, RUN_TAG: run_id()})


def find_execution(address: str) -> Execution | None:
    """Return the MLflow run of this pipeline run, or None where there is none.

    Raises `BssError` where nobody answers at `address`.
    """
    import mlflow

    quiet_mlflow()
    client = mlflow.MlflowClient(address)
    try:
        experiments = [e.experiment_id for e in client.search_experiments()]
        found = client.search_runs(experiments, f"tags.`{RUN_TAG}` = '{run_id()}'", order_by=["attributes.start_time"])
    except Exception as error:
        raise unreachable(address, error) from error
    for run in found:
        if "mlflow.parentRunId" not in run.data.tags:
            tags = {tag: run.data.tags[tag] for tag in (RUN_TAG, IMAGE_TAG) if tag in run.data.tags}
            return Execution(address, run.info.experiment_id, run.info.run_id, tags)
    return None


def join_execution(config: Config, given: str) -> Execution | None:
    """Return the MLflow run of this pipeline run for a training or the comparison; None where tracking is off.

    Raises `BssError` where the first step's run is not there.
    """
    if not config.tracking.enabled:
        return None
    address = tracking_address(given)
    execution = find_execution(address)
    if execution is None:
        raise BssError(f"MLflow at {address}: has no run of the pipeline run {run_id()}. Was it deleted?")
    return execution


def end(given: str, state: str) -> str:
    """End the MLflow run of this pipeline run, if there is one; `state` is Kubeflow's. Returns what was done.

    Raises `BssError` where nobody answers.
    """
    address = given or os.environ.get("MLFLOW_TRACKING_URI")
    execution = find_execution(address) if address else None
    if execution is None:
        return "There is no MLflow run to end."
    status = STATUS.get(state, "FAILED")
    end_execution(execution, status)
    return f"MLflow run {execution.parent_run_id}: {status}"
