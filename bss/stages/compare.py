"""Stage 5: compare the schedulers over the seeds."""

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console

from bss.audit.results import audit_files
from bss.config import Config, config_to_tree
from bss.console import make_console
from bss.data.decisions import FILE, summarise
from bss.data.store import Store
from bss.errors import BssError
from bss.files import digest_file, held, whole_folder, write_csv, write_json
from bss.metrics.base import Task
from bss.provenance import write_provenance
from bss.report.comparison import compare_results
from bss.report.csv_rows import comparison_rows, curve_rows, difference_rows, metric_rows
from bss.report.page import render_page
from bss.report.results import read_results
from bss.report.terminal import print_comparison
from bss.tracking.destination import recorded_uri
from bss.tracking.execution import Execution, continue_execution, dataset_input, log_report, read_tracking
from bss.tracking.journal import spool_folder
from bss.tracking.sender import sending
from bss.tracking.summary_run import log_summaries
from bss.training.trial_spec import all_trials


def compare(
    config: Config,
    store: Path,
    scores: Path,
    runs: Path,
    report: Path,
    execution: Execution | None = None,
    audit: Path | None = None,
) -> None:
    """Write comparison.json, the CSV files, times.json and report.html, and log them to MLflow.

    `dvc metrics` shows a row per file, so each scheduler has its own file in ``metrics/``.
    They are added to the run `execution`; None uses the trainings' own, if any. So are the files of the audit in the
    folder `audit`, if it is one of this store. Raises
    `BssError` if a training is missing, damaged or was made under another protocol.
    """
    data = Store.open(store)
    task = Task(len(data.classes), tuple(data.modalities))
    results = read_results(config, runs, task)
    comparison = compare_results(config, results, len(data.rows("val")))
    decisions = summarise(data.path / FILE)
    if decisions:
        comparison["decisions"] = decisions
    times = {name: float(np.mean([trial.seconds for trial in trials])) for name, trials in results.items()}
    with held(report), whole_folder(report) as folder:
        write_json(folder / "comparison.json", comparison)
        write_json(folder / "times.json", times)
        (folder / "metrics").mkdir()
        for name, row in metric_rows(comparison).items():
            write_json(folder / "metrics" / f"{name}.json", row)
        write_csv(folder / "comparison.csv", comparison_rows(comparison))
        write_csv(folder / "curves.csv", curve_rows(results, config.protocol, task))
        write_csv(folder / "differences.csv", difference_rows(comparison))
        page = render_page(config, data, scores, results, comparison, times)
        (folder / "report.html").write_text(page, encoding="utf-8")
        inputs = {
            f"{name}/{trial.folder.name}": digest_file(trial.folder / "metrics.json")
            for name, trials in results.items()
            for trial in trials
        }
        parameters = {"compare": config_to_tree(config.compare), "seeds": list(config.seeds)}
        write_provenance(folder, "compare", {"store": data.digest, **inputs}, parameters)
    console = make_console()
    print_comparison(comparison, times, console)
    known = read_tracking(runs)
    if execution is None and known is not None:
        execution = replace(known[0], tracking_uri=recorded_uri(known[0].tracking_uri))
    if execution is not None:
        spool = spool_folder(runs)
        found = audit_files(audit, data) if audit is not None else {}
        log_report(continue_execution(spool, execution), report, comparison, found)
        recorded = known[1] if known is not None else {}
        records: dict[str, list[str]] = {}
        for trial in all_trials(config):
            of_row = records.setdefault(trial.row, [])
            of_row += [recorded[trial.path]] if trial.path in recorded else []
        log_summaries(spool, execution, comparison, times, records, dataset_input(config, data))
        _send(config, runs, execution, console)


def _send(config: Config, runs: Path, execution: Execution, console: Console) -> None:
    """Send what was recorded, and what the trainings could not send."""

    def say(line: str) -> None:
        console.print(line, highlight=False, markup=False, soft_wrap=True)

    with ExitStack() as stack:
        try:
            stack.enter_context(held(spool_folder(runs)))
        except BssError:  # the process that holds it sends this too
            return
        stack.enter_context(sending(runs, execution.tracking_uri, config.tracking.strict, say))
