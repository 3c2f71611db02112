"""Markdown summaries of steps for the Kubeflow UI."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from bss.artifacts.scores import measurement_titles
from bss.audit.results import SUMMARY
from bss.data.read_csv import read_csv
from bss.data.store import SPLITS, Store
from bss.files import read_json


def markdown_table(titles: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return a Markdown table; floats have three decimals, None is a dash."""
    lines = [titles, ["---"] * len(titles), *([_cell(value) for value in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value).replace("|", "\\|")


def store_summary(store: Path) -> str:
    """Return the number of samples per class and split of a store, and what was left out."""
    data = Store.open(store)
    rows: list[list[Any]] = []
    for label, name in enumerate(data.classes):
        rows.append([name, *(int((data.labels[data.rows(split)] == label).sum()) for split in SPLITS)])
    rows.append(["all", *(len(data.rows(split)) for split in SPLITS)])
    with (store / "skipped.csv").open(encoding="utf-8") as file:
        skipped = sum(1 for _ in file) - 1
    modalities = ", ".join(f"{name} ({m.kind} {list(m.shape)})" for name, m in data.modalities.items())
    head = (
        f"# {data.name}\n\n{len(data)} samples, {skipped} left out. Modalities: {modalities}. Digest {data.digest}.\n"
    )
    return f"{head}\n{markdown_table(['class', *SPLITS], rows)}"


def scores_summary(scores: Path) -> str:
    """Return the means of the measured columns and, given ground truth, the AUC of finding bad pairs."""
    mean = read_json(scores / "summary.json", "measure")["mean"]
    measured = read_json(scores / "provenance.json", "measure")["parameters"]["measure"]
    titles = measurement_titles(measured["warmup_epochs"], measured["initial_mode"])
    names = list(mean["warm-up"])
    rows = [[name, *(mean[timing][name] for timing in titles.values())] for name in names]
    table = markdown_table(["mean over samples and seeds", *titles], rows)
    return f"# Balance scores of the training samples\n\n{table}"


def plans_summary(plans: Path) -> str:
    """Return per scheduler: samples in the first epoch, epochs until all are open, steps."""
    rows = []
    for path in sorted(plans.glob("*/pacing.csv")):
        pacing = [{key: float(value) for key, value in row.items()} for _, row in read_csv(path)[1]]
        opened = next((int(row["epoch"]) + 1 for row in pacing if row["fraction"] == 1), None)
        rows.append([path.parent.name, int(pacing[0]["samples"]), opened, int(sum(row["steps"] for row in pacing))])
    return "# Plans\n\n" + markdown_table(["scheduler", "first epoch shows", "all open from epoch", "steps"], rows)


def audit_summary(folder: Path) -> str:
    """Return how common each kind of fault is, by the audit in `folder`."""
    summary = read_json(folder / SUMMARY, "audit", {"kinds": dict})
    rows = [[kind, *(found[key] for key in ("share", "low", "high"))] for kind, found in summary["kinds"].items()]
    return "# Audit\n\n" + markdown_table(["kind", "share", "95 % from", "to"], rows)
