"""The model in MLflow's registry: recorded by the comparison, registered when the record is sent."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bss.errors import BssError
from bss.redact import redact
from bss.tracking.destination import reason
from bss.tracking.execution import Execution
from bss.tracking.journal import Journal
from bss.tracking.trial_run import ModelToLog, append_model

ALIAS = "best"
"""Alias of the version that the last comparison chose."""
VERSIONS_TAG = "mlflow.modelVersions"
"""Tag of a logged model by which its page names the versions made of it (mlflow/utils/mlflow_tags.py)."""


@dataclass(frozen=True)
class Registration:
    """A version of a registered model to make."""

    name: str
    """Name of the registered model."""
    description: str
    tags: dict[str, str]


def log_registration(
    spool: Path, execution: Execution, record: str, run_name: str, model: ModelToLog, registration: Registration
) -> None:
    """Record in a journal in `spool` that the model of the trial `record` is logged, if not yet, and registered."""
    journal = Journal.create(spool)
    journal.append(
        "continue",
        uri=redact(execution.tracking_uri),
        record=record,
        experiment=execution.experiment,
        name=run_name,
        parent=execution.record,
    )
    append_model(journal, model)
    journal.append("register", **asdict(registration))
    journal.append("end", status=None)


def register(client: Any, run_id: str, registration: Registration) -> None:
    """Make the model of the run a version of the registered model, and give it `ALIAS`.

    A model that is a version already gets the alias only. Raises `BssError` if the registry does not answer or
    refuses: it may be another server than that of the runs, which do not depend on it.
    """
    try:
        _register(client, run_id, registration)
    except Exception as error:
        raise BssError(f"the model registry rejects {registration.name} ({reason(error)}).") from error


def _register(client: Any, run_id: str, registration: Registration) -> None:
    from mlflow.exceptions import MlflowException

    run, name = client.get_run(run_id), registration.name
    model = client.get_logged_model(run.outputs.model_outputs[0].model_id)
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_ALREADY_EXISTS", "ALREADY_EXISTS"):
            raise
    # By its source: the server's answers leave out the id of a version's model.
    source = model.artifact_location
    versions = [one for one in client.search_model_versions(f"name = '{name}'") if one.source == source]
    if versions:
        version = versions[0]
    else:
        version = client.create_model_version(
            name,
            source,
            run_id,
            registration.tags,
            description=registration.description,
            await_creation_for=0,
            model_id=model.model_id,
        )
    client.set_registered_model_alias(name, ALIAS, version.version)
    known = json.loads(model.tags.get(VERSIONS_TAG, "[]"))
    new = {"name": name, "version": version.version}
    if new not in known:
        client.set_logged_model_tags(model.model_id, {VERSIONS_TAG: json.dumps([*known, new])})
