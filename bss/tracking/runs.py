"""MLflow runs: one parent per execution of the pipeline, one child per scheduler and seed."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bss.addresses import redact
from bss.config import Config, config_to_tree, flatten
from bss.data.fetch import DataVersion
from bss.data.store import Store
from bss.files import digest_file, write_json
from bss.tracking.destination import artifact_location, quiet_mlflow, tracking_uri, unreachable
from bss.tracking.dvc_lock import dvc_digest
from bss.tracking.provenance import code_version

FLUSH_SECONDS = 10.0
"""Metrics are sent at most this often: seen live in a long training, one call in a short one."""
PARAMS_PER_CALL = 100
METRICS_PER_CALL = 1000
VALUE_LENGTH = 6000
"""MLflow's limits."""


@dataclass(frozen=True)
class ModelToLog:
    """A trained model in a cell's folder, and stored samples that it can be tried on."""

    folder: Path
    input_example: dict[str, npt.NDArray[Any]]
    """Per modality [2, *shape], as they lie in the store."""


@dataclass(frozen=True)
class Execution:
    """The parent run of one execution of the pipeline."""

    tracking_uri: str
    experiment_id: str
    parent_run_id: str
    tags: dict[str, str] = field(default_factory=dict)
    """Set on every run of the execution: the image and the Kubeflow run, where there are such."""


@contextmanager
def start_execution(config: Config, store: Store, scores: Path, plans: Path) -> Iterator[Execution]:
    """Open the parent run and log what is known before training.

    The run ends with the block: FINISHED, FAILED on an error, KILLED on an interruption. Raises `BssError`
    at once where nobody answers.
    """
    execution = open_execution(config, store.name, tracking_uri(), {})
    try:
        log_inputs(execution, config, store, scores, plans)
        yield execution
    except BaseException as error:
        end_execution(execution, "FAILED" if isinstance(error, Exception) else "KILLED")
        raise
    end_execution(execution, "FINISHED")


def open_execution(config: Config, name: str, uri: str, tags: dict[str, str]) -> Execution:
    """Create the parent run for the data called `name` at the tracking store `uri`, and log the parameters.

    Raises `BssError` where nobody answers.
    """
    import mlflow

    quiet_mlflow()
    client = mlflow.MlflowClient(uri)
    try:
        experiment_id = _experiment(client, config.tracking.experiment or name, uri)
        run_name = f"pipeline {code_version()['commit'][:8]} on {name}"
        all_tags = {**_code_tags(), **tags, "bss.protocol": config.protocol}
        run_id = client.create_run(experiment_id, run_name=run_name, tags=all_tags).info.run_id
        _log_params(client, run_id, flatten(config_to_tree(config)))
        client.log_dict(run_id, config_to_tree(config), "params.json")
    except Exception as error:
        raise unreachable(uri, error) from error
    return Execution(uri, experiment_id, run_id, tags)


def log_inputs(
    execution: Execution,
    config: Config,
    store: Store,
    scores: Path,
    plans: Path,
    version: DataVersion | None = None,
) -> None:
    """Log to the parent run what the trainings start from: data, scores and plans.

    `version` tells where the data came from; None takes the digest that dvc.lock has for it.
    """
    import mlflow

    client = mlflow.MlflowClient(execution.tracking_uri)
    run_id = execution.parent_run_id
    try:
        client.set_tag(run_id, "bss.store_digest", store.digest)
        if Path("dvc.lock").is_file():
            client.set_tag(run_id, "bss.dvc_lock_digest", digest_file(Path("dvc.lock")))
        _log_dataset(client, run_id, config, store, version)
        for name, folder in (("scores", scores), ("plans", plans)):
            client.log_artifacts(run_id, str(folder), name)
        for name in ("store.json", "skipped.csv", "provenance.json"):
            client.log_artifact(run_id, str(store.path / name), "store")
    except Exception as error:
        raise unreachable(execution.tracking_uri, error) from error


def end_execution(execution: Execution, status: str) -> None:
    """End the parent run as FINISHED, FAILED or KILLED."""
    import mlflow

    mlflow.MlflowClient(execution.tracking_uri).set_terminated(execution.parent_run_id, status)


class CellRun:
    """The run of one training; every call names its run, so processes and threads do not mix."""

    def __init__(self, client: Any, run_id: str) -> None:
        self.client, self.run_id = client, run_id
        self.logged_epochs = 0
        """Epochs that an earlier process has logged already."""
        self._metrics: list[Any] = []
        self._last_flush = time.monotonic()

    @classmethod
    def start(cls, execution: Execution, name: str, params: dict[str, Any], tags: dict[str, str]) -> "CellRun":
        """Open a child run of `execution` with flattened `params`."""
        import mlflow

        quiet_mlflow()
        client = mlflow.MlflowClient(execution.tracking_uri)
        all_tags = {**tags, **_code_tags(), **execution.tags, "mlflow.parentRunId": execution.parent_run_id}
        run = client.create_run(execution.experiment_id, run_name=name, tags=all_tags)
        _log_params(client, run.info.run_id, flatten(params))
        return cls(client, run.info.run_id)

    @classmethod
    def resume(cls, execution: Execution, run_id: str) -> "CellRun | None":
        """Go on with the run of a training that was stopped, as a child of `execution`; None where it is gone."""
        import mlflow
        from mlflow.exceptions import MlflowException

        quiet_mlflow()
        client = mlflow.MlflowClient(execution.tracking_uri)
        try:
            client.set_tag(run_id, "mlflow.parentRunId", execution.parent_run_id)
            client.update_run(run_id, "RUNNING")
            steps = [metric.step for metric in client.get_metric_history(run_id, "train/loss")]
        except MlflowException:
            return None
        run = cls(client, run_id)
        run.logged_epochs = max(steps, default=-1) + 1
        return run

    def log_epoch(self, row: Mapping[str, Any]) -> None:
        """Add a row of history.csv: its numbers become metrics of step ``row["epoch"]``."""
        if row["epoch"] < self.logged_epochs:
            return
        self._add({name: value for name, value in row.items() if name != "epoch"}, int(row["epoch"]))
        if time.monotonic() - self._last_flush > FLUSH_SECONDS:
            self._flush()

    def finish(self, folder: Path, metrics: Mapping[str, Any], model: ModelToLog | None) -> None:
        """Send what is left, the final `metrics`, the files of `folder` and the model, and end the run."""
        last = int(metrics["selected_epoch"])
        self._add({f"final/{name}": value for name, value in metrics.items()}, last)
        self._flush()
        for path in sorted(folder.iterdir()):
            if path.name != "model.pt":
                self.client.log_artifact(self.run_id, str(path))
        if model is not None:
            from bss.tracking.model import log_model

            log_model(self.client, self.run_id, model.folder, model.input_example)
        self.client.set_terminated(self.run_id, "FINISHED")

    def fail(self, status: str) -> None:
        """Send what is left and end the run as FAILED or KILLED."""
        self._flush()
        self.client.set_terminated(self.run_id, status)

    def _add(self, values: Mapping[str, Any], step: int) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self._metrics += [
            Metric(name, float(value), now, step)
            for name, value in values.items()
            if isinstance(value, int | float) and np.isfinite(value)
        ]

    def _flush(self) -> None:
        for start in range(0, len(self._metrics), METRICS_PER_CALL):
            self.client.log_batch(self.run_id, metrics=self._metrics[start : start + METRICS_PER_CALL])
        self._metrics = []
        self._last_flush = time.monotonic()


def write_tracking(path: Path, execution: Execution, run_ids: dict[str, str]) -> None:
    """Write which runs belong to a folder of trainings, for the stage compare."""
    write_json(path, {**vars(execution), "runs": run_ids})


def log_report(tracking: Mapping[str, Any], report: Path, comparison: Mapping[str, Any]) -> None:
    """Log the report's files and the comparison's numbers to the parent run of the trainings.

    `tracking` is what `write_tracking` wrote. Raises `BssError` where nobody answers.
    """
    import mlflow
    from mlflow.entities import Metric

    quiet_mlflow()
    uri, run_id = tracking["tracking_uri"], tracking["parent_run_id"]
    now = int(time.time() * 1000)
    numbers = {
        name.replace(".", "/"): value
        for name, value in flatten(comparison["schedulers"]).items()
        if isinstance(value, int | float)
    }
    try:
        client = mlflow.MlflowClient(uri)
        metrics = [Metric(name, float(value), now, 0) for name, value in numbers.items()]
        for start in range(0, len(metrics), METRICS_PER_CALL):
            client.log_batch(run_id, metrics=metrics[start : start + METRICS_PER_CALL])
        client.log_artifacts(run_id, str(report), "report")
    except Exception as error:
        raise unreachable(uri, error) from error


def _experiment(client: Any, name: str, uri: str) -> str:
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is not None:
        if found.lifecycle_stage == "deleted":
            client.restore_experiment(found.experiment_id)
        return str(found.experiment_id)
    # Without this tag MLflow's UI opens with its pages for language models.
    tags = {"mlflow.experimentKind": "custom_model_development"}
    try:
        return str(client.create_experiment(name, artifact_location=artifact_location(uri), tags=tags))
    except MlflowException:  # another process was faster
        found = client.get_experiment_by_name(name)
        if found is None:
            raise
        return str(found.experiment_id)


def _code_tags() -> dict[str, str]:
    code = code_version()
    return {
        "bss.version": code["version"],
        "bss.commit": code["commit"],
        "bss.modified": str(code["modified"]).lower(),
        "bss.code_digest": code["digest"],
        "mlflow.source.git.commit": code["commit"],
    }


def _log_params(client: Any, run_id: str, params: Mapping[str, Any]) -> None:
    from mlflow.entities import Param

    entities = [Param(name, str(value)[:VALUE_LENGTH]) for name, value in params.items()]
    for start in range(0, len(entities), PARAMS_PER_CALL):
        client.log_batch(run_id, params=entities[start : start + PARAMS_PER_CALL])


def _log_dataset(client: Any, run_id: str, config: Config, store: Store, version: DataVersion | None) -> None:
    """Log the data as an input, with the digest that tells one version of it from another."""
    import json

    from mlflow.entities import Dataset, DatasetInput, InputTag

    if version is None:
        digest = dvc_digest(Path("dvc.lock"), config.prepare.root) or store.digest
        source = {"path": config.prepare.root, "digest": digest}
    else:
        digest, source = version.digest, {**vars(version), "repository": redact(version.repository)}
    counts = {split: len(store.rows(split)) for split in ("train", "val", "test")}
    profile = {"samples": counts, "classes": len(store.classes), "modalities": sorted(store.modalities)}
    dataset = Dataset(
        name=store.name,
        digest=digest[:36],
        source_type="dvc",
        source=json.dumps(source),
        profile=json.dumps(profile),
    )
    client.log_inputs(run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])])
