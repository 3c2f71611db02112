"""Where MLflow records go, and whether anybody answers there."""

import os
from pathlib import Path

from bss.addresses import redact
from bss.errors import BssError

DATABASE = "mlflow.db"
"""The default store, in the working directory; MLFLOW_TRACKING_URI wins."""
ARTIFACTS = "mlartifacts"
"""Folder of the artifacts, beside the database."""


def tracking_uri() -> str:
    """Return MLFLOW_TRACKING_URI, or the default database by its full path."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{Path(DATABASE).resolve()}"


def artifact_location(uri: str) -> str | None:
    """Return where a new experiment's artifacts go: beside a database file; None leaves it to the server."""
    if not uri.startswith("sqlite:///"):
        return None
    return (Path(uri.removeprefix("sqlite:///")).resolve().parent / ARTIFACTS).as_uri()


def quiet_mlflow() -> None:
    """Fail within seconds where nobody answers, and print nothing needless; the user's settings win."""
    import logging

    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "1")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)


def unreachable(uri: str, error: Exception) -> BssError:
    """Return the error that says that the tracking store does not answer, and what to do."""
    # First redacted, then cut: a cut password is not recognised.
    reason = redact((str(error).strip().splitlines() or [type(error).__name__])[0])[:200]
    return BssError(
        f"MLflow at {redact(uri)} does not answer: {reason}\n"
        "Start the server, correct MLFLOW_TRACKING_URI or unset it (records then go to mlflow.db here), or set "
        "tracking.enabled: false."
    )
