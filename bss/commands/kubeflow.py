"""The Kubeflow commands; `pipelines` is imported only when one runs."""

import argparse
import os
import shlex
import sys
from pathlib import Path
from typing import Any

from bss.commands.options import Add, load
from bss.errors import BssError


def add_kubeflow_commands(add: Add) -> None:
    """Add compile, submit and run-local to the command line."""
    sub = add("compile", _compile, "compile the Kubeflow pipeline")
    _cluster_option(sub)
    sub.add_argument("--output", type=Path, default=Path("pipelines/pipeline.yaml"), help="default: %(default)s")
    sub = add("submit", _submit, "submit the pipeline to Kubeflow")
    _run_options(sub)
    _cluster_option(sub)
    sub.add_argument("--endpoint", help="URL of Kubeflow Pipelines (default: $KF_PIPELINES_ENDPOINT)")
    sub.add_argument("--namespace", help="your profile's namespace in a multi-user installation")
    login = sub.add_mutually_exclusive_group()
    login.add_argument("--token-file", type=Path, help="file with a bearer token (default: $KFP_TOKEN or the pod's)")
    login.add_argument("--cookie-file", type=Path, help="file with the cookies of a browser that has logged in")
    sub.add_argument("--ca-file", type=Path, help="certificate of your authority (default: $REQUESTS_CA_BUNDLE)")
    sub.add_argument("--image", required=True, help="container image of the steps, by digest or commit tag")
    sub.add_argument("--experiment", default="bss", help="default: %(default)s")
    sub.add_argument("--run-name", help="default: commit and time")
    sub.add_argument("--no-cache", action="store_true", help="run every step even if its result is cached")
    statuses = "0 if the run succeeds, 1 if it fails or is cancelled, 3 if contact is lost"
    sub.add_argument("--wait", action="store_true", help=f"show each step and exit with {statuses}")
    sub = add("run-local", _run_local, "run the Kubeflow pipeline on this machine")
    _run_options(sub)
    sub.add_argument("--image", help="run each step in a container of this image instead of a process")
    sub.add_argument("--shards", type=int, default=1, help="number of decoding steps (default: %(default)s)")
    sub.add_argument("--root", type=Path, default=Path("outputs/kubeflow"), help="default: %(default)s")


def _cluster_option(sub: argparse.ArgumentParser) -> None:
    help_text = "resources requested from the cluster (default: %(default)s)"
    sub.add_argument("--cluster", type=Path, default=Path("pipelines/cluster.yaml"), help=help_text)


def _run_options(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--scheduler", action="append", default=[], help="train only this scheduler; repeatable")
    with_strategy = "train only with this strategy (none: plain training); repeatable"
    sub.add_argument("--strategy", action="append", default=[], help=with_strategy)
    sub.add_argument("--seed", type=int, action="append", default=[], help="train this seed; repeatable")
    sub.add_argument(
        "--data-repository",
        default="",
        help="git repository with data tracked by DVC (default: the built-in data, if params.yaml has it)",
    )
    sub.add_argument("--data-revision", default="", help="branch, tag or commit")
    sub.add_argument("--data-path", default="", help="folder of the data in the repository")
    earlier = "folder on S3 with the report of an earlier run, before decisions about samples"
    sub.add_argument("--before", default="", metavar="URL", help=earlier)
    sub.add_argument("--mlflow", default="", metavar="URI", help="URL of the MLflow server")


def _require_project() -> None:
    try:
        import pipelines  # noqa: F401
    except ModuleNotFoundError as error:
        raise BssError("the Kubeflow pipeline is not installed: run this command in a clone of the project.") from error


def _arguments(options: argparse.Namespace) -> dict[str, Any]:
    from pipelines.submit import run_arguments

    data = (options.data_repository, options.data_revision, options.data_path)
    chosen = (options.scheduler, options.seed)
    places = (data, options.mlflow)
    return run_arguments(options.params, options.overrides, *chosen, *places, options.strategy, options.before)


def _compile(options: argparse.Namespace) -> None:
    _require_project()
    from bss.files import whole_file
    from pipelines.compile import compile_pipeline

    text = compile_pipeline(options.cluster, load(options))
    options.output.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(options.output) as unfinished:
        unfinished.write_text(text, encoding="utf-8")
    print(f"compile: {options.output}, {len(text.splitlines())} lines")


def _submit(options: argparse.Namespace) -> int:
    _require_project()
    import time

    from bss.console import make_console
    from bss.kubeflow.start import RESOLVED, resolve_config
    from bss.provenance import code_version
    from pipelines import wait
    from pipelines.endpoint import make_endpoint
    from pipelines.run_steps import iterations
    from pipelines.submit import submit

    url = options.endpoint or os.environ.get("KF_PIPELINES_ENDPOINT")
    if not url:
        raise BssError("--endpoint is missing and KF_PIPELINES_ENDPOINT is not set. Set the URL of Kubeflow.")
    endpoint = make_endpoint(url, options.namespace, options.token_file, options.cookie_file, options.ca_file)
    arguments = _arguments(options)
    name = options.run_name or f"bss {code_version()['commit'][:8]} {time.strftime('%Y-%m-%d %H:%M:%S')}"
    run_id = submit(
        endpoint,
        options.image,
        arguments,
        options.cluster,
        options.experiment,
        name,
        not options.no_cache,
    )
    console = make_console()
    console.print(f"submit: run {run_id}, {endpoint.url}/#/runs/details/{run_id}", highlight=False, soft_wrap=True)
    if not options.wait:
        return 0
    names = iterations(resolve_config(*(arguments[name] for name in RESOLVED)))
    try:
        return wait.wait(endpoint, run_id, console, wait.POLL_SECONDS, names)
    except wait.ContactLostError as error:
        print(f"bss: {error}", file=sys.stderr)
        return wait.CONTACT_LOST
    except KeyboardInterrupt:
        print(f"bss: stopped waiting; run {run_id} continues", file=sys.stderr)
        return 130


def _run_local(options: argparse.Namespace) -> None:
    _require_project()
    from bss.console import make_console
    from bss.kubeflow.start import RESOLVED, resolve_config
    from bss.report.terminal import show
    from pipelines.run_local import run_local, tracking_address

    if options.shards < 1:
        raise BssError(f"--shards {options.shards}: must be at least 1.")
    if options.data_repository and Path(options.data_repository).is_dir():
        options.data_repository = str(Path(options.data_repository).resolve())
    arguments = _arguments(options)
    tracked = resolve_config(*(arguments[name] for name in RESOLVED)).tracking.enabled
    report = run_local(arguments, options.root, options.image, options.shards)
    address = shlex.quote(tracking_address(arguments, options.root))
    show(report, make_console(), ui=f"MLFLOW_TRACKING_URI={address} bss ui" if tracked else None)
