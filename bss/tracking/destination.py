"""The destination of MLflow records, and whether it answers."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bss.errors import BssError
from bss.extras import not_installed
from bss.files import whole_file
from bss.redact import redact
from bss.tracking.experiment_folder import checkout_folder, is_lost

DATABASE = "mlflow.db"
"""The default store, in the working directory or the checkout of an experiment; MLFLOW_TRACKING_URI wins."""
ARTIFACTS = "mlartifacts"
"""Folder of the artifacts, next to the database."""


def tracking_uri() -> str:
    """Return MLFLOW_TRACKING_URI, or the default database by its full path.

    A temporary DVC experiment uses the database of its checkout, because its own folder is deleted at the end.
    """
    given = os.environ.get("MLFLOW_TRACKING_URI")
    return given or f"sqlite:///{(checkout_folder(Path.cwd()) / DATABASE).resolve()}"


def warn_if_lost(say: Callable[[str], None]) -> None:
    """Warn if records go to the folder of a DVC experiment with unknown checkout."""
    if not os.environ.get("MLFLOW_TRACKING_URI") and is_lost(Path.cwd()):
        say(
            f"MLflow: this DVC experiment runs in {Path.cwd()}. DVC may delete that folder, {DATABASE} included, and "
            "bss could not find the checkout that started it. Set MLFLOW_TRACKING_URI."
        )


def recorded_uri(recorded: str) -> str:
    """Return the URI to which records for `recorded`, a URI without its password, are sent.

    MLFLOW_TRACKING_URI wins: it may have been corrected since. Raises `BssError` if the password is missing.
    """
    given = os.environ.get("MLFLOW_TRACKING_URI")
    if not given and "***@" in recorded:
        raise BssError(f"MLFLOW_TRACKING_URI: not set, and {recorded} was recorded without its password. Set it.")
    return given or recorded


def artifact_location(uri: str) -> str | None:
    """Return the artifact location of a new experiment: next to a database file; None leaves it to the server."""
    if not uri.startswith("sqlite:///"):
        return None
    return (Path(uri.removeprefix("sqlite:///")).resolve().parent / ARTIFACTS).as_uri()


def connect(uri: str) -> Any:
    """Return MLflow's client for the tracking store at `uri`.

    One process at a time creates or upgrades a database file, atomically: MLflow
    guarantees neither, and cannot open a file again if it was killed while creating it.
    """
    import mlflow

    quiet_mlflow()
    if not uri.startswith("sqlite:///"):
        return mlflow.MlflowClient(uri)
    import fcntl

    path = Path(uri.removeprefix("sqlite:///")).resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        if not path.exists():
            _make_database(path)
        client = mlflow.MlflowClient(uri)
        client.search_experiments(max_results=1)
    finally:
        os.close(handle)
    return client


def _make_database(path: Path) -> None:
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    with whole_file(path) as unfinished:
        unfinished.unlink(missing_ok=True)  # left by a killed process
        made = f"sqlite:///{unfinished}"
        store = SqlAlchemyStore(made, artifact_location(made))
        store.engine.dispose()  # closes the file


def quiet_mlflow() -> None:
    """Make MLflow fail within seconds if no server answers, and print less; the user's settings win."""
    import logging

    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "1")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)


def unreachable(uri: str, error: Exception) -> BssError:
    """Return the error for a tracking store that refuses the credentials, fails TLS or does not answer."""
    what, fix = failure(error)
    return BssError(
        f"MLflow at {redact(uri)} {what}: {reason(error)}\n"
        f"{fix}, correct MLFLOW_TRACKING_URI or unset it (records then go to mlflow.db here), or set "
        "tracking.enabled: false. With tracking.strict: false the work does not depend on it."
    )


def reason(error: Exception) -> str:
    """Return why `error` was raised in one line of at most 200 characters, without a password."""
    if isinstance(error, ModuleNotFoundError):
        return not_installed(error.name)
    # First redacted, then cut: a cut password is not recognised.
    return redact((str(error).strip().splitlines() or [type(error).__name__])[0])[:200]


def failure(error: Exception) -> tuple[str, str]:
    """Return what went wrong with the server, and the first remedy to try."""
    if isinstance(error, ModuleNotFoundError):
        return "cannot be used", "Install it"
    from requests.exceptions import SSLError

    status = getattr(error, "get_http_status_code", lambda: None)()
    if status in (401, 403):
        return "rejects the credentials", "Correct MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD (or _TOKEN)"
    if any(isinstance(found, SSLError) for found in _chain(error)) or "SSLError" in str(error):
        return (
            "fails TLS",
            "Set REQUESTS_CA_BUNDLE to its certificate authority (a PEM file), use http:// if it has no TLS",
        )
    return "does not answer", "Start the server"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
