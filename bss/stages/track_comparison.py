"""The MLflow runs of a comparison: the report on the parent run, a run per scheduler, and the registered model."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from bss.config import Config
from bss.data.store import Store
from bss.errors import BssError
from bss.files import held
from bss.report.comparison import Comparison, Results
from bss.report.csv_rows import comparison_rows
from bss.report.markdown import markdown_verdict
from bss.report.results import Result
from bss.stages.track_trials import trained_model
from bss.tracking.execution import Execution, continue_execution, dataset_input, log_report
from bss.tracking.journal import spool_folder
from bss.tracking.registry import Registration, log_registration
from bss.tracking.sender import sending
from bss.tracking.summary_run import Summary, log_summaries
from bss.tracking.view import summary_metrics
from bss.training.trial_spec import TrialId, all_trials

Say = Callable[[str], None]


def log_comparison(
    config: Config,
    data: Store,
    runs: Path,
    report: Path,
    comparison: Comparison,
    results: Results,
    execution: Execution,
    records: dict[str, str],
    audit: Mapping[str, Path],
    say: Say,
) -> None:
    """Record the comparison in journals next to `runs`, and send them with the unsent journals of the trials.

    `records` maps `TrialId.path` to the record of each trial that has an MLflow run; `audit` are files of an audit of
    the same store, by name.
    """
    spool = spool_folder(runs)
    verdict, rows = markdown_verdict(comparison), comparison_rows(comparison)
    log_report(continue_execution(spool, execution), report, verdict, rows, comparison["baseline"], audit)
    trials: dict[str, list[str]] = {}
    for trial in all_trials(config):
        of_row = trials.setdefault(trial.row, [])
        of_row += [records[trial.path]] if trial.path in records else []
    summaries = [
        Summary(name, summary_values(comparison, name, mean_seconds(results[name])), _verdict(entry), trials[name])
        for name, entry in comparison["schedulers"].items()
    ]
    log_summaries(spool, execution, summaries, dataset_input(config, data))
    if config.tracking.register is not None:
        _register(config, data, results, execution, records, spool, say)
    _send(config, runs, execution, say)


def mean_seconds(trials: list[Result]) -> float:
    """Return the mean length of the trials in seconds."""
    return float(np.mean([trial.seconds for trial in trials]))


def summary_values(comparison: Comparison, name: str, seconds: float) -> dict[str, float]:
    """Return the metrics of one scheduler: mean test accuracy in [0, 1], and its difference to the baseline in points.

    `p` is corrected for the number of schedulers if `compare.correction` says so. The baseline has no difference,
    and a single seed neither interval nor p. Four decimals: MLflow shows all that there are.
    """
    entry, baseline = comparison["schedulers"][name], comparison["baseline"]
    found: dict[str, Any] = entry.get("vs_baseline", {}).get("test_acc", {})
    p = found.get("p") if found.get("p_corrected") is None else found["p_corrected"]
    numbers = [
        *(entry["test_acc"]["mean"], found.get("difference"), found.get("low"), found.get("high"), p),
        *(entry["steps"]["mean"], seconds),
    ]
    pairs = zip(summary_metrics(baseline), numbers, strict=True)
    return {metric: round(float(number), 4) for metric, number in pairs if number is not None}


def best_trial(config: Config, results: Results) -> tuple[TrialId, Result]:
    """Return the best trial of the best row on the watched split: val, or test without one (protocol published).

    The row has the highest mean accuracy over seeds, the trial the highest in its row; of equal ones the first in
    params.yaml. Test accuracy does not choose, so that of the chosen model stays an honest estimate.
    """
    row = max(results, key=lambda name: float(np.mean([_watched_accuracy(trial) for trial in results[name]])))
    trials = [trial for trial in all_trials(config) if trial.row == row]
    return max(zip(trials, results[row], strict=True), key=lambda pair: _watched_accuracy(pair[1]))


def _watched_accuracy(trial: Result) -> float:
    return float(trial.metrics[f"{trial.watched}/acc"])


def _verdict(entry: dict[str, Any]) -> str | None:
    found = entry.get("vs_baseline")
    return None if found is None else str(found["test_acc"]["verdict"])


def _register(
    config: Config,
    data: Store,
    results: Results,
    execution: Execution,
    records: dict[str, str],
    spool: Path,
    say: Say,
) -> None:
    trial, result = best_trial(config, results)
    if trial.path not in records:
        say(f"tracking.register: {trial} was trained without MLflow, so its model is not registered.")
        return
    accuracy = _watched_accuracy(result)
    splits = dict.fromkeys([result.watched, "test"])
    registration = Registration(
        name=str(config.tracking.register),
        description=(
            f"{trial}: {trial.row} has the highest mean {result.watched} accuracy over {len(config.seeds)} seeds, and "
            f"this seed the highest of {trial.row}, {accuracy:.4f}."
        ),
        tags={
            **{key: str(value) for key, value in trial.fields.items()},
            **{f"{split}_acc": f"{result.metrics[f'{split}/acc']:.4f}" for split in splits},
        },
    )
    model = trained_model(data, result.folder)
    log_registration(spool, execution, records[trial.path], trial.run_name, model, registration)


def _send(config: Config, runs: Path, execution: Execution, say: Say) -> None:
    """Send what was recorded, and what the trials could not send."""
    with ExitStack() as stack:
        try:
            stack.enter_context(held(spool_folder(runs)))
        except BssError:  # the process that holds it sends this too
            return
        stack.enter_context(sending(runs, execution.tracking_uri, config.tracking.strict, say))
