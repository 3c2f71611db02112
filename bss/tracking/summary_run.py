"""The run of one scheduler: what the comparison found of it, above its trials."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bss.config.combinations import PLAIN
from bss.files import digest_json
from bss.redact import redact
from bss.tracking.execution import Execution, code_tags
from bss.tracking.journal import Journal
from bss.tracking.view import KIND_TAG


@dataclass(frozen=True)
class Summary:
    """One row of the comparison."""

    name: str
    """``bss-h``, or ``bss-h+ogm`` with a strategy."""
    metrics: dict[str, float]
    """Metrics by the names of `summary_metrics`, those that the row has."""
    verdict: str | None
    """On the difference to the baseline; None of the baseline."""
    trials: list[str]
    """Records of its trials, which move below it."""


def summary_record(execution_record: str, row: str) -> str:
    """Return the record of the summary run of `row` under the execution with this record."""
    return digest_json([execution_record, row])[:32]


def log_summaries(spool: Path, execution: Execution, summaries: Iterable[Summary], dataset: dict[str, str]) -> None:
    """Record a child of `execution` for each of `summaries`, in journals in `spool`.

    A second comparison changes the runs of the first.
    """
    for row in summaries:
        scheduler, _, strategy = row.name.partition("+")
        journal = Journal.create(spool)
        journal.append(
            "run",
            record=summary_record(execution.record, row.name),
            experiment=execution.experiment,
            uri=redact(execution.tracking_uri),
            name=row.name,
            tags={
                **code_tags(),
                **execution.tags,
                KIND_TAG: "summary",
                "scheduler": scheduler,
                **({"strategy": strategy} if strategy else {}),
                **({} if row.verdict is None else {"verdict": row.verdict}),
            },
            # MLflow's comparison of runs opens on a plot of the parameters that differ.
            params={"scheduler": scheduler, "strategy": strategy or PLAIN},
            parent=execution.record,
            replaces=None,
        )
        journal.append("dataset", dataset=dataset)
        journal.append("metrics", step=0, values=row.metrics)
        journal.append("adopt", records=row.trials)
        journal.append("end", status="FINISHED")
