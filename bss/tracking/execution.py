"""The parent run of one pipeline execution: inputs before the trials, and the report after them."""

import getpass
import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from bss.config import Config, config_to_tree
from bss.data.decisions import FILE as DECISIONS
from bss.data.store import Store
from bss.files import read_json, write_json
from bss.provenance import code_version
from bss.redact import redact
from bss.remote.fetch import DataVersion
from bss.tracking.columns import shown_parameters
from bss.tracking.description import description, logged_table, table
from bss.tracking.dvc_lock import dvc_digest
from bss.tracking.journal import Journal, files_below
from bss.tracking.view import KIND_TAG, SHARED_VIEW, VIEW, runs_view

TRACKING = "mlflow.json"
"""File in a folder of trials that lists their runs."""
TABLE = "schedulers.json"
"""Artifact of the parent run: every number of the comparison, a row per scheduler."""


@dataclass(frozen=True)
class Execution:
    """The parent run of one pipeline execution, wherever its records currently are."""

    tracking_uri: str
    experiment: str
    record: str
    """Name of the record before MLflow assigns an id."""
    name: str
    tags: dict[str, str] = field(default_factory=dict)
    """Tags of every run of the execution: image and Kubeflow run, if any."""


def open_execution(
    spool: Path, config: Config, name: str, uri: str, tags: dict[str, str], record: str | None = None
) -> tuple[Execution, Journal]:
    """Begin the parent run for the data called `name`, with the parameters, in a journal in `spool`.

    `record` is its name until MLflow assigns an id; None generates one.
    """
    execution = Execution(
        uri,
        config.tracking.experiment or name,
        record or secrets.token_hex(16),
        f"pipeline {code_version()['commit'][:8]} on {name}",
        tags,
    )
    journal = Journal.create(spool)
    tree = config_to_tree(config)
    journal.append(
        "run",
        record=execution.record,
        experiment=execution.experiment,
        uri=redact(uri),
        name=execution.name,
        tags={**code_tags(), **tags, KIND_TAG: "pipeline", "bss.protocol": config.protocol},
        params=shown_parameters(tree),
        parent=None,
        replaces=None,
    )
    folder = journal.add_files({})
    (journal.folder / folder).mkdir()
    write_json(journal.folder / folder / "params.json", tree)
    journal.append("files", folder=folder, to=None)
    return execution, journal


def continue_execution(spool: Path, execution: Execution) -> Journal:
    """Return a journal in `spool` that appends to the parent run of `execution`."""
    journal = Journal.create(spool)
    values = {"record": execution.record, "experiment": execution.experiment, "name": execution.name}
    journal.append("continue", uri=redact(execution.tracking_uri), **values)
    return journal


def log_inputs(
    journal: Journal,
    config: Config,
    store: Store,
    scores: Path,
    plans: Path,
    version: DataVersion | None = None,
) -> None:
    """Record the inputs of the trials: data, scores and plans.

    `version` is the origin of the data; None uses its digest in dvc.lock.
    """
    journal.append("tags", tags={"bss.store_digest": store.digest})
    journal.append("dataset", dataset=dataset_input(config, store, version))
    for name, folder in (("scores", scores), ("plans", plans)):
        journal.append("files", folder=journal.add_files(files_below(folder)), to=name)
    names = ["store.json", "skipped.csv", "provenance.json"]
    names += [DECISIONS] if (store.path / DECISIONS).exists() else []
    journal.append("files", folder=journal.add_files({name: store.path / name for name in names}), to="store")


def log_report(
    journal: Journal,
    report: Path,
    verdict: str,
    rows: list[dict[str, Any]],
    baseline: str,
    audit: Mapping[str, Path] = MappingProxyType({}),
) -> None:
    """Record the report's files, the comparison's `rows` as a table, and its `verdict` as the run's description.

    `verdict` is Markdown; `baseline` names the scheduler that the others are compared with; `audit` are files of an
    audit by their name.
    """
    journal.append("tags", tags={"mlflow.note.content": description(verdict), **logged_table(TABLE)})
    folder = journal.add_files({})
    (journal.folder / folder).mkdir()
    write_json(journal.folder / folder / TABLE, table(rows))
    journal.append("files", folder=folder, to=None)
    journal.append("files", folder=journal.add_files(files_below(report)), to="report")
    if audit:
        journal.append("files", folder=journal.add_files(dict(audit)), to="audit")
    journal.append("view", key=f"{SHARED_VIEW}{VIEW}", value=runs_view(baseline))
    journal.append("end", status=None)


def write_tracking(runs: Path, execution: Execution, records: dict[str, str]) -> None:
    """Write the MLflow runs of the trials in `runs` next to them; `records` has a name for each trial."""
    values = {**vars(execution), "tracking_uri": redact(execution.tracking_uri)}
    write_json(runs / TRACKING, {"execution": values, "records": records})


def read_tracking(runs: Path) -> tuple[Execution, dict[str, str]] | None:
    """Return the record of `write_tracking`, or None if the trials have no run."""
    if not (runs / TRACKING).is_file():
        return None
    known = read_json(runs / TRACKING, "train")
    return Execution(**known["execution"]), known["records"]


def code_tags() -> dict[str, str]:
    """Return the tags with the user and the code version of a run."""
    code = code_version()
    return {
        **_user(),
        "mlflow.source.name": "bss",
        "mlflow.source.type": "LOCAL",
        "bss.version": code["version"],
        "bss.commit": code["commit"],
        "mlflow.git.dirty": str(code["modified"]).lower(),
        "bss.code_digest": code["digest"],
        "mlflow.source.git.commit": code["commit"],
    }


def _user() -> dict[str, str]:
    """Return the user as MLflow names one; nothing if this process has no name, as in some containers."""
    try:
        return {"mlflow.user": os.environ.get("MLFLOW_TRACKING_USERNAME") or getpass.getuser()}
    except (ImportError, KeyError, OSError):
        return {}


def dataset_input(config: Config, store: Store, version: DataVersion | None = None) -> dict[str, str]:
    """Return the data as MLflow's dataset, with the digest that identifies its version."""
    if version is None:
        digest = dvc_digest(Path("dvc.lock"), config.prepare.root) or store.digest
        source = {"path": config.prepare.root, "digest": digest}
    else:
        digest, source = version.digest, {**vars(version), "repository": redact(version.repository)}
    counts = {split: len(store.rows(split)) for split in ("train", "val", "test")}
    profile = {"samples": counts, "classes": len(store.classes), "modalities": sorted(store.modalities)}
    return {
        "name": store.name,
        "digest": digest[:36],
        "source_type": "dvc",
        "source": json.dumps(source),
        "profile": json.dumps(profile),
    }
