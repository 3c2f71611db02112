"""Upload a journal to MLflow, idempotently: retries duplicate nothing and overwrite nothing."""

from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from bss.errors import BssError
from bss.redact import redact
from bss.tracking.destination import artifact_location, connect
from bss.tracking.journal import Journal, Record, files_below

RECORD_TAG = "bss.record"
"""Tag of every run: its name before MLflow assigned an id."""
PARENT_TAG = "mlflow.parentRunId"
METRICS = ("metrics", "system")
"""Kinds of lines with metrics: of the trial, and of the machine."""
PARAMS_PER_CALL = 100
METRICS_PER_CALL = 1000
VALUE_LENGTH = 6000
"""MLflow's limits."""

Before = Callable[[int], None]
"""Called before each upload, with its size in bytes; may raise to stop."""


class Replay:
    """Uploads journals to the tracking store at `uri`."""

    def __init__(self, uri: str, before: Before = lambda size: None) -> None:
        import mlflow  # noqa: F401 - takes seconds, which are not the store's

        before(0)
        self.client = connect(uri)
        self.uri, self.before = uri, before
        self._experiments: dict[str, str] = {}

    def send(self, journal: Journal) -> None:
        """Upload the unsent lines; recreate a run that was deleted there from its first line."""
        state = journal.sent()
        uri = redact(self.uri)
        if state.get("to") != uri:
            state = {"to": uri, "offset": 0, "run_id": None}
        try:
            self._send(journal, state)
        except Exception as error:
            if not _is_gone(error):
                raise
            self._send(journal, {"to": uri, "offset": 0, "run_id": None})

    def _send(self, journal: Journal, state: Record) -> None:
        for records, offset in _calls(journal.read(state["offset"])):
            self._apply(journal, records, state)
            state["offset"] = offset
            journal.write_sent(state)

    def _apply(self, journal: Journal, records: list[Record], state: Record) -> None:
        first = records[0]
        op = first["op"]
        size = 0
        if op in ("files", "model"):
            size = sum(path.stat().st_size for path in files_below(journal.folder / first["folder"]).values())
        self.before(size)
        if op == "run":
            state["run_id"] = self._open(first, state["run_id"])
            state["record"], state["experiment"] = first["record"], first["experiment"]
            return
        if op == "continue":
            state["run_id"], state["experiment"] = self._known(first), first["experiment"]
            return
        run_id = state["run_id"]
        if op in METRICS:
            self._log_metrics(run_id, records)
        elif op == "tags":
            for name, value in first["tags"].items():
                self.client.set_tag(run_id, name, value)
        elif op == "dataset":
            self._log_dataset(run_id, first)
        elif op == "files":
            self.client.log_artifacts(run_id, str(journal.folder / first["folder"]), first["to"])
        elif op == "adopt":
            self._adopt(run_id, state["experiment"], first["records"])
        elif op == "view":
            experiment = self._experiment(state["experiment"])
            self.client.set_experiment_tag(experiment, first["key"], first["value"])
        elif op in ("model", "register"):
            self._log_model(run_id, journal.folder, first)
        elif op == "end" and first["status"] is not None:
            self._remove_doubles(state)
            self.client.set_terminated(run_id, first["status"], first["time"])

    def _open(self, record: Record, known: str | None) -> str:
        """Create the run, or continue an existing one; return its id."""
        from mlflow.entities import Param, RunTag

        experiment = self._experiment(record["experiment"])
        tags = {**record["tags"], RECORD_TAG: record["record"]}
        # A trial is below the run of its row, once a comparison has made that.
        for above in (record.get("summary"), record["parent"]):
            parents = self._find(experiment, above) if above is not None else []
            if parents:
                tags[PARENT_TAG] = parents[0]
                break
        if record["replaces"] is not None:
            for run_id in self._find(experiment, record["replaces"]):
                self.client.delete_run(run_id)
        run_id = known or next(iter(self._find(experiment, record["record"])), "")
        if not run_id:
            run_id = str(self.client.create_run(experiment, record["time"], tags, record["name"]).info.run_id)
        else:
            self.client.log_batch(run_id, tags=[RunTag(name, value) for name, value in tags.items()])
            self.client.update_run(run_id, "RUNNING")
        params = [Param(name, str(value)[:VALUE_LENGTH]) for name, value in record["params"].items()]
        for start in range(0, len(params), PARAMS_PER_CALL):
            self.client.log_batch(run_id, params=params[start : start + PARAMS_PER_CALL])
        return run_id

    def _known(self, record: Record) -> str:
        found = self._find(self._experiment(record["experiment"]), record["record"])
        if not found:
            raise BssError(f"MLflow at {redact(self.uri)} has no run {record['name']} any more.")
        return found[0]

    def _find(self, experiment: str, record: str) -> list[str]:
        """Return the ids of the runs created for `record`, oldest first: one, or none."""
        runs = self.client.search_runs(
            [experiment], f"tags.`{RECORD_TAG}` = '{record}'", order_by=["attributes.start_time", "attributes.run_id"]
        )
        return [run.info.run_id for run in runs]

    def _remove_doubles(self, state: Record) -> None:
        """Delete duplicates from requests that timed out but arrived after all."""
        if "record" not in state:
            return
        for run_id in self._find(self._experiment(state["experiment"]), state["record"]):
            if run_id != state["run_id"]:
                self.client.delete_run(run_id)

    def _log_metrics(self, run_id: str, records: list[Record]) -> None:
        from mlflow.entities import Metric

        # MLflow keeps one of several that agree in name, value, time and step.
        metrics = [
            Metric(name, value, record["time"], record["step"])
            for record in records
            for name, value in record["values"].items()
        ]
        for start in range(0, len(metrics), METRICS_PER_CALL):
            self.client.log_batch(run_id, metrics=metrics[start : start + METRICS_PER_CALL])

    def _log_dataset(self, run_id: str, record: Record) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        dataset = Dataset(**record["dataset"])
        self.client.log_inputs(run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])])

    def _adopt(self, run_id: str, experiment: str, records: list[str]) -> None:
        """Move the runs of `records` below the run; those that were deleted stay so."""
        for record in records:
            for found in self._find(self._experiment(experiment), record):
                self.client.set_tag(found, PARENT_TAG, run_id)

    def _log_model(self, run_id: str, journal: Path, record: Record) -> None:
        """Log the model in the files of `record`, or register the one that the run has."""
        from bss.tracking.model import log_model
        from bss.tracking.registry import Registration, register

        if record["op"] == "register":
            register(self.client, run_id, Registration(record["name"], record["description"], record["tags"]))
            return
        folder = journal / record["folder"]
        with np.load(folder / "input_example.npz", allow_pickle=False) as example:
            log_model(self.client, run_id, folder, dict(example))

    def _experiment(self, name: str) -> str:
        if name not in self._experiments:
            self._experiments[name] = _experiment(self.client, name, self.uri)
        return self._experiments[name]


def _calls(lines: list[tuple[Record, int]]) -> Iterator[tuple[list[Record], int]]:
    """Yield the lines of one call: consecutive metrics together, anything else alone; with the end offset."""
    for together, group in groupby(lines, lambda line: line[0]["op"] in METRICS):
        found = list(group)
        if together:
            yield [record for record, _ in found], found[-1][1]
        else:
            yield from (([record], offset) for record, offset in found)


def _is_gone(error: Exception) -> bool:
    """Return whether the store reports that the run does not exist or was deleted."""
    code = getattr(error, "error_code", None)
    return code == "RESOURCE_DOES_NOT_EXIST" or (code == "INVALID_PARAMETER_VALUE" and "'active' state" in str(error))


def is_refused(error: Exception) -> bool:
    """Return whether the error concerns a single record, not the store."""
    refused = {"BAD_REQUEST", "INVALID_PARAMETER_VALUE", "INVALID_STATE", "RESOURCE_DOES_NOT_EXIST"}
    return isinstance(error, BssError) or getattr(error, "error_code", None) in refused


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
