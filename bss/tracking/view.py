"""What a browser shows first: one row per scheduler with the few metrics that all have."""

import json
from typing import Any
from urllib.parse import urlencode

SHARED_VIEW = "mlflow.sharedViewState."
"""MLflow keeps the views that its button Share makes in tags of the experiment; a link names one by the rest."""
VIEW = "bss"
SECTION = "bss-schedulers"
"""Id of the section of charts in it."""
KIND_TAG = "bss.kind"
"""On every run: pipeline, summary or trial."""


def summary_metrics(baseline: str) -> list[str]:
    """Return the metrics of a summary run, in the order of the table."""
    return ["test_acc", f"diff_vs_{baseline}", "ci_low", "ci_high", "p", "steps", "seconds"]


def runs_view(baseline: str) -> str:
    """Return the view of an experiment that lists the summary runs, the best first, as MLflow's JSON.

    Its charts are a bar chart of each metric in the order of the table; MLflow's own order is alphabetical.
    """
    columns = [f"metrics.`{name}`" for name in summary_metrics(baseline)]
    view: dict[str, Any] = {
        "searchFilter": f"tags.`{KIND_TAG}` = 'summary'",
        # Any order but by time: then MLflow lists the runs flat, not below their collapsed parent.
        "orderByKey": "metrics.`test_acc`",
        "orderByAsc": False,
        "selectedColumns": columns,
        "columnOrder": columns,
        "compareRunSections": [{"uuid": SECTION, "name": "Model metrics", "display": True, "isReordered": False}],
        "compareRunCharts": [
            {
                "type": "BAR",
                "uuid": f"{SECTION}-{name}",
                "metricSectionId": SECTION,
                "metricKey": name,
                "displayName": name,
                "runsCountToCompare": 20,
                "deleted": False,
                "isGenerated": True,
            }
            for name in summary_metrics(baseline)
        ],
    }
    return json.dumps(view)


def runs_page(address: str, experiment_id: str | None) -> str:
    """Return the page of MLflow's UI at `address` that lists runs, not the traces of language models.

    With the id of an experiment that has `VIEW`, its summary runs; with None, the experiments.
    """
    if experiment_id is None:
        return f"{address.rstrip('/')}/#/experiments?workflowType=machine_learning"
    query = urlencode({"workflowType": "machine_learning", "viewStateShareKey": VIEW})
    return f"{address.rstrip('/')}/#/experiments/{experiment_id}/runs?{query}"
