"""Stage 5: compare the schedulers over the seeds."""

from pathlib import Path

import numpy as np

from bss.config import Config, config_to_tree
from bss.console import make_console
from bss.data.store import Store
from bss.files import digest_file, held, read_json, whole_folder, write_csv, write_json
from bss.report.comparison import compare_results
from bss.report.page import render_page
from bss.report.results import read_results
from bss.report.table import print_comparison
from bss.report.tables import comparison_rows, curve_rows, difference_rows
from bss.tracking.provenance import write_provenance
from bss.tracking.runs import log_report


def compare(config: Config, store: Path, scores: Path, runs: Path, report: Path) -> None:
    """Write comparison.json and the CSV files, times.json and report.html, and log them to MLflow.

    Raises `BssError` where a training is missing, damaged or was made under another protocol.
    """
    data = Store.open(store)
    results = read_results(config, runs)
    comparison = compare_results(config, results)
    times = {name: float(np.mean([cell.seconds for cell in cells])) for name, cells in results.items()}
    with held(report), whole_folder(report) as folder:
        write_json(folder / "comparison.json", comparison)
        write_json(folder / "times.json", times)
        write_csv(folder / "comparison.csv", comparison_rows(comparison))
        write_csv(folder / "curves.csv", curve_rows(results, config.protocol))
        write_csv(folder / "differences.csv", difference_rows(comparison))
        page = render_page(config, data, scores, results, comparison, times)
        (folder / "report.html").write_text(page, encoding="utf-8")
        inputs = {
            f"{name}/{cell.folder.name}": digest_file(cell.folder / "metrics.json")
            for name, cells in results.items()
            for cell in cells
        }
        parameters = {"compare": config_to_tree(config.compare), "seeds": list(config.seeds)}
        write_provenance(folder, "compare", {"store": data.digest, **inputs}, parameters)
    print_comparison(comparison, times, make_console())
    if (runs / "mlflow.json").is_file():
        log_report(read_json(runs / "mlflow.json", "train"), report, comparison)
