"""The run of one trial: scheduler and seed, a child of the execution's run."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bss.redact import redact
from bss.tracking.columns import final_values, shown_parameters, shown_series
from bss.tracking.execution import Execution, code_tags
from bss.tracking.journal import Journal, files_below
from bss.tracking.summary_run import summary_record
from bss.tracking.view import KIND_TAG


@dataclass(frozen=True)
class ModelToLog:
    """A trained model in a trial's folder, and stored samples as an input example."""

    folder: Path
    input_example: dict[str, npt.NDArray[Any]]
    """Inputs per modality, [2, *shape], as stored."""


class TrialRun:
    """Records one trial in its own journal, so processes do not interleave."""

    def __init__(self, journal: Journal, record: str, logged_epochs: int = 0, samples: int = 0) -> None:
        self.journal, self.record = journal, record
        self.logged_epochs = logged_epochs
        """Epochs already recorded by an earlier process."""
        self._samples = samples

    @classmethod
    def start(
        cls,
        spool: Path,
        execution: Execution,
        name: str,
        params: dict[str, Any],
        tags: dict[str, str],
        replaces: str | None = None,
        dataset: dict[str, str] | None = None,
    ) -> "TrialRun":
        """Start a child of `execution`; `replaces` names a run it replaces, `dataset` is its input."""
        journal, record = Journal.create(spool), secrets.token_hex(16)
        tags = {**tags, **code_tags(), KIND_TAG: "trial"}
        _open(journal, execution, record, name, tags, shown_parameters(params), replaces)
        if dataset is not None:
            journal.append("dataset", dataset=dataset)
        return cls(journal, record)

    @classmethod
    def resume(cls, spool: Path, execution: Execution, journal_name: str) -> "TrialRun | None":
        """Continue the run of a stopped trial as a child of `execution`; None if it is gone."""
        journal = Journal(spool / journal_name)
        lines = [record for record, _ in journal.read()]
        if not lines:
            return None
        first = lines[0]
        _open(journal, execution, first["record"], first["name"], first["tags"], first["params"], None)
        steps = [line["step"] for line in lines if line["op"] == "metrics"]
        samples = sum(line["op"] == "system" for line in lines)
        return cls(journal, first["record"], max(steps, default=-1) + 1, samples)

    def log_epoch(self, row: Mapping[str, Any]) -> None:
        """Add a row of history.csv: its most useful numbers become metrics of step ``row["epoch"]``."""
        if row["epoch"] >= self.logged_epochs:
            self._log(shown_series(row), int(row["epoch"]))

    def log_system(self, values: dict[str, float]) -> None:
        """Add a sample of the machine's use, finite numbers, as metrics of the next step. Not thread-safe."""
        self.journal.append("system", step=self._samples, values=values)
        self._samples += 1

    def finish(self, folder: Path, metrics: Mapping[str, Any], model: ModelToLog | None) -> None:
        """Add the final `metrics`, the files of `folder` and the model, and end the run."""
        self._log(final_values(metrics), 0)  # MLflow draws a bar of what has no other step
        files = files_below(folder, without=["model.pt"])
        self.journal.append("files", folder=self.journal.add_files(files), to=None)
        if model is not None:
            append_model(self.journal, model)
        self.journal.append("end", status="FINISHED")

    def fail(self, status: str) -> None:
        """End the run as FAILED or KILLED."""
        self.journal.append("end", status=status)

    def _log(self, values: Mapping[str, Any], step: int) -> None:
        numbers = {
            name: float(value)
            for name, value in values.items()
            if isinstance(value, int | float) and np.isfinite(value)
        }
        self.journal.append("metrics", step=step, values=numbers)


def append_model(journal: Journal, model: ModelToLog) -> None:
    """Record in `journal` that its run has this model, with a snapshot of the files."""
    whole = files_below(model.folder)
    of_model = {n: p for n, p in whole.items() if n in ("model.pt", "network.json") or ".tokenizer/" in n}
    kept = journal.add_files(of_model)
    np.savez(journal.folder / kept / "input_example.npz", **model.input_example)  # type: ignore[arg-type]
    journal.append("model", folder=kept)


def _open(
    journal: Journal,
    execution: Execution,
    record: str,
    name: str,
    tags: dict[str, str],
    params: dict[str, Any],
    replaces: str | None,
) -> None:
    row = "+".join(tags[key] for key in ("scheduler", "strategy") if key in tags)
    journal.append(
        "run",
        record=record,
        experiment=execution.experiment,
        uri=redact(execution.tracking_uri),
        name=name,
        tags={**tags, **execution.tags},
        params=params,
        parent=execution.record,
        summary=summary_record(execution.record, row),
        replaces=replaces,
    )
