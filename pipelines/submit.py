"""Submit the pipeline to Kubeflow, and wait for it."""

import contextlib
import io
import logging
import re
import shlex
import tempfile
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from bss.config import Config
from bss.errors import BssError
from bss.kubeflow.start import config_for_pods, resolve_config
from bss.redact import redact
from pipelines.cluster import load_cluster
from pipelines.compile import compile_pipeline

PINNED = re.compile(r".+(@sha256:[0-9a-f]{64}|:[\w.-]*[0-9a-f]{7,40}[\w.-]*)")
"""An image by digest, or by a tag that contains a commit."""
TIMEOUT = 15
"""Timeout in seconds for a silent endpoint."""
POLL_SECONDS = 10.0
"""Seconds between two polls of a run."""
PATIENCE = 30
"""Consecutive polls that may fail before we stop waiting; the run continues."""
ENDED = {"SUCCEEDED": 0, "SKIPPED": 0, "FAILED": 1, "CANCELED": 1}
"""Maps a run's final state to the exit status of `bss submit --wait`."""


@dataclass(frozen=True)
class Endpoint:
    """A Kubeflow Pipelines endpoint."""

    url: str
    """URL of the API, such as http://localhost:8080 or https://kubeflow.example.org/pipeline."""
    namespace: str | None = None
    """Profile namespace of a multi-user installation."""
    token: str | None = None
    """Bearer token."""


def run_arguments(
    params: Path,
    overrides: Sequence[str],
    schedulers: Sequence[str],
    seeds: Sequence[int],
    data: tuple[str, str, str],
    mlflow_tracking_uri: str,
) -> dict[str, Any]:
    """Return the pipeline's parameters except the image; `data` is repository, revision and path.

    Raises `BssError` for every wrong parameter, like the step start.
    """
    try:
        text = params.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BssError(f"{params}: cannot be read ({error}). Give a file with --params.") from error
    config = resolve_config(text, overrides, schedulers, seeds)
    repository, revision, path = data
    if bool(repository) != bool(path) or (revision and not repository):
        raise BssError("--data-repository and --data-path belong together; --data-revision needs both.")
    if not repository and config.generate.digits is None:
        raise BssError(
            f"--data-repository: missing, and {params} generates no built-in data. The steps get data only from a git "
            f"repository: add --data-repository URL --data-path {_suggested_path(config)}, and "
            "--data-revision unless it is the default branch (docs/data.md)."
        )
    _require_no_secret("--data-repository", repository, "Give a URL from which the steps can clone without one.")
    _require_no_secret("--mlflow", mlflow_tracking_uri, "Put it into the secret, as MLFLOW_TRACKING_PASSWORD.")
    return {
        "parameters": text,
        "overrides": list(overrides),
        "schedulers": list(schedulers),
        "seeds": list(seeds),
        "data_repository": repository,
        "data_revision": revision,
        "data_path": path,
        "mlflow_tracking_uri": mlflow_tracking_uri,
    }


def _suggested_path(config: Config) -> str:
    """Return prepare.root if it may be a path in a repository, otherwise an example."""
    root = Path(config.prepare.root)
    return "data/birds" if root.is_absolute() or ".." in root.parts else shlex.quote(root.as_posix())


def _require_no_secret(option: str, address: str, cure: str) -> None:
    """Raise `BssError` if `address` contains a password: everybody who sees a run sees its parameters."""
    if redact(address) != address and address.startswith("http"):
        raise BssError(f"{option} {redact(address)}: contains a password, visible to all who see the run. {cure}")


def check_image(image: str) -> None:
    """Raise `BssError` unless `image` is named by digest or commit.

    Kubeflow reuses steps by image name: a moving tag would reuse results of older code.
    """
    if not PINNED.fullmatch(image):
        raise BssError(
            f"--image {image}: name it by digest (name@sha256:...) or by a tag with the commit, as `make image` "
            "does. Kubeflow reuses steps by this name, and a moving tag would hide changed code."
        )


def submit(
    endpoint: Endpoint,
    image: str,
    arguments: Mapping[str, Any],
    cluster: Path,
    experiment: str,
    run_name: str,
    caching: bool,
) -> str:
    """Compile and submit the pipeline; return the id of the run.

    Raises `BssError` if the image's name can move, the parameters request other GPUs than the
    cluster settings, the endpoint does not answer, or the token is rejected.
    """
    check_image(image)
    config = resolve_config(
        arguments["parameters"], arguments["overrides"], arguments["schedulers"], arguments["seeds"]
    )
    config_for_pods(config, load_cluster(cluster).train.gpus, config.train.nodes)
    client = connect(endpoint)
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder) / "pipeline.yaml"
        package.write_text(compile_pipeline(cluster, config), encoding="utf-8")
        try:
            # The client prints URLs itself; the caller prints one.
            with contextlib.redirect_stdout(io.StringIO()):
                run = client.create_run_from_pipeline_package(
                    str(package),
                    arguments={**arguments, "image": image},
                    run_name=run_name,
                    experiment_name=experiment,
                    namespace=endpoint.namespace,
                    enable_caching=caching,
                )
        except Exception as error:
            raise _refused(endpoint, error) from error
    return str(run.run_id)


def connect(endpoint: Endpoint) -> Any:
    """Return a client of the Kubeflow Pipelines API; raise `BssError` if it does not answer or rejects the token."""
    import requests

    headers = {"Authorization": f"Bearer {endpoint.token}"} if endpoint.token else {}
    url = f"{endpoint.url.rstrip('/')}/apis/v2beta1/healthz"
    try:
        answer = requests.get(url, headers=headers, timeout=TIMEOUT, allow_redirects=False)
    except requests.RequestException as error:
        raise BssError(
            f"{endpoint.url}: does not answer ({type(error).__name__}). Is it the URL of Kubeflow Pipelines? "
            "From outside the cluster: kubectl port-forward -n kubeflow svc/ml-pipeline-ui 8080:80, then "
            "--endpoint http://localhost:8080."
        ) from error
    if answer.status_code in (301, 302, 303, 307, 401, 403):
        raise BssError(
            f"{endpoint.url}: {'rejects this token' if endpoint.token else 'requires a token'} "
            f"(status {answer.status_code}). Give a valid one with --token-file or in KFP_TOKEN."
        )
    if not answer.ok or "json" not in answer.headers.get("content-type", ""):
        raise BssError(
            f"{endpoint.url}: answers, but not like Kubeflow Pipelines 2 (status {answer.status_code} for "
            f"{url}). Full installations have it below /pipeline."
        )
    import kfp

    logging.getLogger("kfp").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return kfp.Client(host=endpoint.url, existing_token=endpoint.token, namespace=endpoint.namespace or "kubeflow")


def wait(endpoint: Endpoint, run_id: str, console: Console, poll_seconds: float) -> int:
    """Print each step's state as it changes until the run ends; return 0 if it succeeded, else 1.

    Raises `BssError` if polling fails for long; the run continues.
    """
    client = connect(endpoint)
    seen: dict[str, str] = {}
    failures = 0
    started = time.monotonic()
    while True:
        try:
            run = client.get_run(run_id)
            failures = 0
        except Exception as error:
            failures += 1
            if failures == PATIENCE:
                raise _refused(endpoint, error, f"The run {run_id} continues.") from error
            time.sleep(poll_seconds)
            continue
        for name, state in step_states(run).items():
            if seen.get(name) != state:
                seen[name] = state
                console.print(f"{_minutes(started)}  {name}: {state.lower()}", highlight=False, markup=False)
        if run.state in ENDED:
            console.print(f"{_minutes(started)}  run {run_id}: {run.state.lower()}", highlight=False, markup=False)
            if run.state == "FAILED" and run.error is not None and run.error.message:
                console.print(run.error.message, highlight=False, markup=False)
            return ENDED[run.state]
        time.sleep(poll_seconds)


def step_states(run: Any) -> dict[str, str]:
    """Return the state of each step of a run by name; parallel steps with one name are counted."""
    tasks = run.run_details.task_details if run.run_details is not None else None
    states: dict[str, list[str]] = {}
    for task in tasks or []:
        if task.display_name and task.state and not task.display_name.endswith("-driver"):
            states.setdefault(task.display_name, []).append(task.state)
    return {name: _together(found) for name, found in states.items()}


def _together(states: list[str]) -> str:
    if len(set(states)) == 1:
        return states[0] if len(states) == 1 else f"{len(states)} {states[0]}"
    return ", ".join(f"{states.count(state)} {state}" for state in sorted(set(states)))


def _minutes(started: float) -> str:
    seconds = int(time.monotonic() - started)
    return f"{seconds // 60:3d}:{seconds % 60:02d}"


def _refused(endpoint: Endpoint, error: Exception, more: str = "") -> BssError:
    body = str(getattr(error, "body", None) or error).strip()
    found = re.search(r'"message"\s*:\s*"([^"]*)"', body)
    reason = found.group(1) if found else (body.splitlines() or [type(error).__name__])[0]
    return BssError(f"{endpoint.url}: Kubeflow Pipelines rejected it: {reason[:400]} {more}".rstrip())
