"""Submitting the pipeline to Kubeflow."""

import re
import shlex
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bss.config import Config
from bss.errors import BssError
from bss.kubeflow.start import RESOLVED, config_for_pods, resolve_config
from bss.redact import redact
from bss.remote.s3_files import SCHEME
from pipelines.cluster import load_cluster
from pipelines.compile import compile_pipeline
from pipelines.endpoint import Endpoint
from pipelines.server import ask_server, find_namespace, make_client, plain_refusals, require_version

PINNED = re.compile(r".+(@sha256:[0-9a-f]{64}|:[\w.-]*[0-9a-f]{7,40}[\w.-]*)")
"""An image by digest, or by a tag that holds a commit."""


def run_arguments(
    params: Path,
    overrides: Sequence[str],
    schedulers: Sequence[str],
    seeds: Sequence[int],
    data: tuple[str, str, str],
    mlflow_tracking_uri: str,
    strategies: Sequence[str] = (),
    before: str = "",
) -> dict[str, Any]:
    """Return the pipeline's parameters except the image; `data` is repository, revision and path.

    Raises `BssError` for every wrong parameter, like the step start.
    """
    try:
        text = params.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BssError(f"{params}: cannot be read ({error}). Give a file with --params.") from error
    config = resolve_config(text, overrides, schedulers, seeds, strategies)
    repository, revision, path = data
    if bool(repository) != bool(path) or (revision and not repository):
        raise BssError("--data-repository and --data-path belong together; --data-revision needs both.")
    if not repository and config.generate.digits is None and not config.prepare.root.startswith(SCHEME):
        raise BssError(
            f"--data-repository: missing, and {params} generates no built-in data. The steps get data from S3, as "
            "prepare.root: s3://bucket/prefix, or from a git repository: add --data-repository URL --data-path "
            f"{_suggested_path(config)}, and --data-revision unless it is the default branch (docs/data.md)."
        )
    _require_no_secret("--data-repository", repository, "Give a URL from which the steps can clone without one.")
    _require_no_secret("--mlflow", mlflow_tracking_uri, "Put it into the secret, as MLFLOW_TRACKING_PASSWORD.")
    return {
        "parameters": text,
        "overrides": list(overrides),
        "schedulers": list(schedulers),
        "seeds": list(seeds),
        "strategies": list(strategies),
        "data_repository": repository,
        "data_revision": revision,
        "data_path": path,
        "mlflow_tracking_uri": mlflow_tracking_uri,
        "before": before,
    }


def _suggested_path(config: Config) -> str:
    """Return prepare.root if it may be a path in a repository, otherwise an example."""
    root = Path(config.prepare.root)
    return "data/birds" if root.is_absolute() or ".." in root.parts else shlex.quote(root.as_posix())


def _require_no_secret(option: str, address: str, fix: str) -> None:
    """Raise `BssError` if `address` contains a password: everybody who sees a run sees its parameters."""
    if redact(address) != address and address.startswith("http"):
        raise BssError(f"{option} {redact(address)}: contains a password, visible to all who see the run. {fix}")


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

    Raises `BssError` at once if the image's name can move, the parameters ask for other GPUs than the
    cluster's settings, nobody answers, the credentials are refused, or the backend is too old.
    """
    check_image(image)
    config = resolve_config(*(arguments[name] for name in RESOLVED))
    settings = load_cluster(cluster)
    config_for_pods(config, settings.train.gpus, config.train.nodes, config.audit.enabled)
    server = ask_server(endpoint)
    require_version(endpoint, server, settings.security_context is not None)
    namespace = find_namespace(endpoint, server)
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder) / "pipeline.yaml"
        package.write_text(compile_pipeline(cluster, config, caching), encoding="utf-8")
        with plain_refusals(endpoint):
            run = make_client(endpoint, namespace).create_run_from_pipeline_package(
                str(package),
                arguments={**arguments, "image": image},
                run_name=run_name,
                experiment_name=experiment,
                namespace=namespace,
                enable_caching=None,  # as compiled: see compile_pipeline
            )
    return str(run.run_id)
