"""Stage 5: compare the schedulers over the seeds."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from bss.artifacts.scores import read_scores, scores_path
from bss.audit.results import audit_files
from bss.config import Config, config_to_tree
from bss.config.combinations import idle_strategies
from bss.console import make_console
from bss.data.decisions import FILE, summarise
from bss.data.store import Store
from bss.files import digest_file, held, whole_folder, write_csv, write_json
from bss.metrics.inputs import Task
from bss.provenance import write_provenance
from bss.report.before_after import MADE_BY, basis_of, before_after, read_before
from bss.report.comparison import compare_results
from bss.report.csv_rows import comparison_rows, curve_rows, difference_rows, metric_rows
from bss.report.matrix_table import effect_rows
from bss.report.observations import observe
from bss.report.page import render_page
from bss.report.results import read_results
from bss.report.terminal import print_comparison
from bss.stages.track_comparison import log_comparison, mean_seconds
from bss.tracking.destination import recorded_uri
from bss.tracking.execution import Execution, read_tracking


def compare(
    config: Config,
    store: Path,
    scores: Path,
    runs: Path,
    report: Path,
    execution: Execution | None = None,
    audit: Path | None = None,
    before: Path | None = None,
) -> None:
    """Write comparison.json, the CSV files, times.json and report.html, and log them to MLflow.

    `dvc metrics` shows a row per file, so each scheduler has its own file in ``metrics/``.
    They are added to the run `execution`; None uses the trials' own, if any. So are the files of the audit in the
    folder `audit`, if it is one of this store. `before` is an earlier comparison.json of the same dataset, before
    decisions about its samples. Raises `BssError` if a trial is missing, damaged or was made under another
    protocol, and if `before` cannot be compared.
    """
    data = Store.open(store)
    earlier = None if before is None else read_before(before, config, data)
    task = Task(len(data.classes), tuple(data.modalities))
    results = read_results(config, runs, task)
    comparison = compare_results(config, results, len(data.rows("val")))
    counts = {split: len(data.rows(split)) for split in ("train", "val", "test")} | {"classes": len(data.classes)}
    measured = np.array([read_scores(scores_path(scores, seed, "warm-up"), data) for seed in config.seeds])
    comparison["observed"] = observe(config, results, measured, counts)
    decisions = summarise(data.path / FILE)
    if decisions:
        comparison["decisions"] = decisions
    idle = idle_strategies(config)
    if idle:
        comparison["idle_strategies"] = idle
    comparison[MADE_BY] = basis_of(config, data, results)
    if earlier is not None:
        comparison["before"] = before_after(config, earlier, comparison[MADE_BY])
    times = {name: mean_seconds(trials) for name, trials in results.items()}
    with held(report), whole_folder(report) as folder:
        write_json(folder / "comparison.json", comparison)
        write_json(folder / "times.json", times)
        (folder / "metrics").mkdir()
        for name, row in metric_rows(comparison).items():
            write_json(folder / "metrics" / f"{name}.json", row)
        write_csv(folder / "comparison.csv", comparison_rows(comparison))
        write_csv(folder / "curves.csv", curve_rows(results, config.protocol, task))
        write_csv(folder / "differences.csv", difference_rows(comparison))
        if "matrix" in comparison:
            write_csv(folder / "effects.csv", effect_rows(comparison))
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
        records = known[1] if known is not None else {}
        found = audit_files(audit, data) if audit is not None else {}

        def say(line: str) -> None:
            console.print(line, highlight=False, markup=False, soft_wrap=True)

        log_comparison(config, data, runs, report, comparison, results, execution, records, found, say)
