"""The run of one scheduler: what the comparison found of it, above its trials."""

from pathlib import Path
from typing import Any

from bss.files import digest_json
from bss.redact import redact
from bss.report.comparison import Comparison
from bss.tracking.execution import Execution, code_tags
from bss.tracking.journal import Journal
from bss.tracking.view import KIND_TAG, summary_metrics


def log_summaries(
    spool: Path,
    execution: Execution,
    comparison: Comparison,
    seconds: dict[str, float],
    trials: dict[str, list[str]],
    dataset: dict[str, str],
) -> None:
    """Record a child of `execution` for each row (``bss-h``, ``bss-h+ogm``) of `comparison`, in journals in `spool`.

    `seconds` is the mean length of a training; `trials` names the records of its trials, which move below it.
    A second comparison changes the runs of the first.
    """
    for name in comparison["schedulers"]:
        journal = Journal.create(spool)
        journal.append(
            "run",
            record=digest_json([execution.record, name])[:32],
            experiment=execution.experiment,
            uri=redact(execution.tracking_uri),
            name=name,
            tags={
                **code_tags(),
                **execution.tags,
                KIND_TAG: "summary",
                **dict(zip(("scheduler", "strategy"), name.split("+"), strict=False)),
                **_verdict(comparison, name),
            },
            params={},
            parent=execution.record,
            replaces=None,
        )
        journal.append("dataset", dataset=dataset)
        journal.append("metrics", step=0, values=summary_values(comparison, name, seconds[name]))
        journal.append("adopt", records=trials[name])
        journal.append("end", status="FINISHED")


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


def _verdict(comparison: Comparison, name: str) -> dict[str, str]:
    found = comparison["schedulers"][name].get("vs_baseline")
    return {} if found is None else {"verdict": str(found["test_acc"]["verdict"])}
