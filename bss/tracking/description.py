"""What MLflow shows of the comparison on the page of the parent run: a description, and a table."""

import json
from typing import Any

LONGEST = 8000
"""MLflow's limit for the value of a tag, in characters."""


def description(text: str) -> str:
    """Return the Markdown `text`, cut at a line if it is longer than `LONGEST`."""
    if len(text) <= LONGEST:
        return text
    note = "\n\nCut here; `report/report.html` among the artifacts has all of it."
    return text[: LONGEST - len(note)].rpartition("\n")[0] + note


def table(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return rows as the file that `mlflow.log_table` writes, with null for what is missing from a row.

    `mlflow.log_table` itself appends to a table that is there, so sending it again would double the rows.
    """
    columns = list(dict.fromkeys(name for row in rows for name in row))
    return {"columns": columns, "data": [[row.get(name) for name in columns] for row in rows]}


def logged_table(path: str) -> dict[str, str]:
    """Return the tag by which MLflow knows that the artifact `path` is such a table."""
    return {"mlflow.loggedArtifacts": json.dumps([{"path": path, "type": "table"}])}
