"""The report: one self-contained HTML page."""

import base64
import hashlib
import re
from pathlib import Path
from typing import Any

from bss.config import Config, config_to_tree, flatten
from bss.data.store import Store
from bss.metrics.base import MODALITY, Metric, SplitMetric
from bss.metrics.find import metrics_of
from bss.metrics.inputs import Task
from bss.provenance import code_version
from bss.report.audit import CONTRIBUTES, PICTURE, SOUND, kinds_of, measured_by, measurements, worst_samples
from bss.report.before_after import decided_lines
from bss.report.comparison import Comparison, Results
from bss.report.contributions import mean_contributions, score_correlations
from bss.report.cost import cost_plot, front_names
from bss.report.curves import curves_plot, pacing_plot
from bss.report.drawing import PALETTE, PALETTE_DARK, capitalised, colours, css_colour
from bss.report.forest import forest_plot
from bss.report.headline import headline
from bss.report.imbalance import imbalance_part
from bss.report.matrix_table import matrix_findings, matrix_rows
from bss.report.multiples import MOST_PANELS, multiples_plot
from bss.report.next_steps import next_steps
from bss.report.plots import final_plot, histogram_plot, modality_plot
from bss.report.repairs import repaired_epochs, repairs_table
from bss.report.selection import listed, shown
from bss.report.statistics import auc
from bss.report.tables import (
    before_after_table,
    comparison_table,
    cost_table,
    differences_table,
    effects_table,
    matrix_table,
    pairs_table,
    samples_table,
)
from bss.report.verdicts import cautions


def render_page(
    config: Config,
    store: Store,
    scores: Path,
    results: Results,
    comparison: Comparison,
    times: dict[str, float],
) -> str:
    """Return the page: verdicts, the table, the plots, the data audit, parameters and provenance."""
    from jinja2 import Environment, PackageLoader

    task = Task(len(store.classes), tuple(store.modalities))
    environment = Environment(loader=PackageLoader("bss.report", "."), autoescape=True, trim_blocks=True)
    environment.filters["code"] = _with_code
    script = (Path(__file__).parent / "page.js").read_text(encoding="utf-8")
    few = {name: results[name] for name in shown(comparison)}
    few_compared = comparison | {"schedulers": {name: comparison["schedulers"][name] for name in few}}
    code = code_version()
    samples = worst_samples(config, store, scores, mean_contributions(results[comparison["baseline"]], store))
    provenance = {
        "commit": code["commit"] + (" (modified)" if code["modified"] else ""),
        "code": code["digest"],
        "version": code["version"],
        "store": store.digest,
    }
    tables = {
        "comparison": comparison_table(comparison, times),
        "differences": differences_table(comparison),
        "samples": samples_table(samples),
        "provenance": pairs_table("provenance", ("what", "value"), provenance),
        "parameters": pairs_table("parameters", ("parameter", "value"), flatten(config_to_tree(config))),
    }
    repaired = repaired_epochs(results, store)
    if repaired:
        tables["repairs"] = repairs_table(repaired)
    return environment.get_template("page.html").render(
        name=store.name,
        comparison=comparison,
        cautions=cautions(comparison),
        decided=decided_lines(comparison),
        before=before_after_table(comparison) if "before" in comparison else None,
        headline=headline(comparison),
        steps=next_steps(comparison),
        script=script,
        script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        tables=tables,
        matrix=_matrix(comparison, times) if "matrix" in comparison else None,
        colours={name: css_colour(colour) for name, colour in colours(list(few)).items()},
        palettes={"light": PALETTE, "dark": PALETTE_DARK},
        forests={"selected": forest_plot(comparison, "test_acc"), "last": forest_plot(comparison, "last_test_acc")},
        left_out=len(results) - len(few),
        curves=_curves(results, few, task, comparison),
        panels=min(len(results), MOST_PANELS),
        pacing=pacing_plot(few),
        modalities=modality_plot(few_compared),
        imbalance=imbalance_part(results, few, task, score_correlations(config, store, scores, results)),
        finals=_finals(few_compared, task),
        histograms=_histograms(config, store, scores, results),
        audit=samples,
        measured=measured_by(config),
        contributed=any(key.endswith(CONTRIBUTES) for key in samples[0]),
        picture=PICTURE,
        sound=SOUND,
        counts={split: len(store.rows(split)) for split in ("train", "val", "test")},
        classes=len(store.classes),
    )


def _matrix(comparison: Comparison, times: dict[str, float]) -> dict[str, Any]:
    """Return the page's data on schedulers x strategies."""
    rows = matrix_rows(comparison, times)
    return {
        "rows": rows,
        "findings": matrix_findings(comparison),
        "table": matrix_table(comparison, rows),
        "effects": effects_table(comparison),
        "cost": cost_table(comparison, times),
        "plot": cost_plot(comparison, times),
        "fronts": front_names(comparison, times),
    }


def _with_code(text: str) -> Any:
    """Return escaped markup in which `...` is code."""
    from markupsafe import Markup, escape

    return Markup(re.sub("`([^`]*)`", r"<code>\1</code>", str(escape(text))))


def _curves(results: Results, few: Results, task: Task, comparison: Comparison) -> list[dict[str, str]]:
    """Return title and drawings of each plotted metric that epochs have: all `few` by epoch and by steps, and panels.

    There is a panel for each of `results`.
    """
    first = next(iter(results.values()))[0]
    drawn, names = [], listed(comparison, list(results))
    for metric in metrics_of(Metric, task):
        for series in metric.series(task.modalities, first.watched):
            if metric.plotted and series.column in first.history:
                drawn.append(
                    {
                        "title": capitalised(series.label),
                        "epochs": curves_plot(few, metric, series, "epochs"),
                        "steps": curves_plot(few, metric, series, "steps"),
                        "panels": multiples_plot(results, metric, series, comparison["baseline"], names),
                    }
                )
    return drawn


def _finals(comparison: Comparison, task: Task) -> list[tuple[str, str]]:
    """Return (title, drawing) of each plotted metric that trained networks alone have."""
    return [
        (
            capitalised(metric.label.replace(MODALITY, "each modality")),
            final_plot(comparison, metric, metric.series(task.modalities, "test")),
        )
        for metric in metrics_of(SplitMetric, task)
        if metric.plotted and not metric.per_epoch
    ]


def _histograms(config: Config, store: Store, scores: Path, results: Results) -> list[tuple[str, str]]:
    """Return (caption, drawing) of each measurement."""
    kinds = kinds_of(store)
    return [
        (title + _auc_text(measured, kinds), histogram_plot(title, measured, kinds))
        for title, measured in measurements(config, store, scores, results)
    ]


def _auc_text(measured: Any, kinds: Any) -> str:
    if kinds is None:
        return ""
    clean = measured[kinds == "clean"]
    found = {kind: auc(clean, measured[kinds == kind]) for kind in sorted(set(kinds.tolist()) - {"clean"})}
    return "".join(f"; AUC {kind} {value:.2f}" for kind, value in found.items() if value is not None)
