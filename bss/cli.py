"""The command line: one thin command per stage, and a few that inspect data and results."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bss import __version__
from bss.cli_kubeflow import add_commands
from bss.end_with_dvc import end_with_dvc
from bss.errors import BssError
from bss.export.arguments import add_export
from bss.extras import not_installed
from bss.full_disk import system_error
from bss.predict.arguments import add_predict
from bss.signals import interrupted_by_sigterm, stop_signal_as_sigterm

if TYPE_CHECKING:
    from bss.config import Config

PARAMS = Path("params.yaml")
STORE = Path("outputs/store")
SCORES = Path("outputs/scores")
PLANS = Path("outputs/plans")
RUNS = Path("outputs/runs")
TUNE = Path("outputs/tune")
REPORT = Path("outputs/report")
AUDIT = Path("outputs/audit")
INSPECTION = Path("outputs/inspect.html")
METHODS = ("bss-h", "bss-l")
METHOD_HELP = """use the settings of this method's published script, with its schedulers and the baseline; needs
--protocol published (default: all schedulers, with the batch size and epochs of the bss-h script)"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns 0 on success, 1 on an error that was printed, and 130 if Ctrl-C or SIGTERM stopped it.
    """
    options = _parser().parse_args(arguments)
    end_with_dvc()
    stop_signal_as_sigterm()
    try:
        with interrupted_by_sigterm():
            return options.command(options) or 0
    except BssError as error:
        print(f"bss: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        known = system_error(error)
        if isinstance(error, BrokenPipeError):  # the reader closed the pipe, as in `bss show | head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        elif known is None:
            raise
        else:
            print(f"bss: {known}", file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] in ("bss", "components", "pipelines"):
            raise
        print(f"bss: {not_installed(error.name)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("bss: stopped; finished work is kept", file=sys.stderr)
        return 130


class _StoreOnce(argparse.Action):
    """Store one value; refuse a second one, which would silently replace the first."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        if getattr(namespace, self.dest, self.default) is not self.default:
            parser.error(f"{option}: given twice")
        setattr(namespace, self.dest, values)


class _Parser(argparse.ArgumentParser):
    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        for name in (None, "store"):
            self.register("action", name, _StoreOnce)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="bss", description="Balance-aware sequence sampling: measure, schedule, train, compare.")
    parser.add_argument("--version", action="version", version=f"bss {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def add(
        name: str,
        command: Callable[[argparse.Namespace], int | None],
        text: str,
        parameters: bool = True,
    ) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(command=command)
        if not parameters:
            return sub
        sub.add_argument("--params", type=Path, default=PARAMS, help=f"parameter file (default: {PARAMS})")
        sub.add_argument(
            "--set",
            action="append",
            default=[],
            metavar="KEY=VALUE",
            dest="overrides",
            help="override one parameter, such as train.epochs=5; repeatable",
        )
        return sub

    def path(sub: argparse.ArgumentParser, *places: Path) -> None:
        for place in places:
            sub.add_argument(f"--{place.name}", type=Path, default=place, help="default: %(default)s")

    _add_data_commands(add, path)
    sub = add("measure", _measure, "stage 2: measure the balance score of each sample")
    path(sub, STORE, SCORES)
    sub = add("schedule", _schedule, "stage 3: plan each scheduler's sequences")
    path(sub, STORE, SCORES, PLANS)
    sub = add("train", _train, "stage 4: train every scheduler and strategy with every seed")
    path(sub, STORE, SCORES, PLANS, RUNS)
    sub.add_argument("--scheduler", action="append", help="train only this scheduler; repeatable")
    sub.add_argument("--strategy", action="append", help="train only with this strategy; repeatable")
    sub.add_argument("--seed", type=int, action="append", help="train only this seed; repeatable")
    sub = add("tune", _tune, "search the learning rate for uniform shuffling on val, for all rows to share")
    path(sub, STORE, TUNE)
    sub.add_argument("--low", type=_above_zero, metavar="RATE", help="least rate (default: a tenth of the configured)")
    sub.add_argument("--high", type=_above_zero, metavar="RATE", help="greatest rate (default: ten times it)")
    sub.add_argument("--points", type=int, default=5, help="log-spaced rates to try; default: %(default)s")
    sub.add_argument("--epochs", type=int, help="epochs of each training (default: train.epochs)")
    sub.add_argument("--seed", type=int, action="append", help="train with this seed; repeatable (default: the first)")
    sub.add_argument("--write", action="store_true", help="set the best rate in the parameter file")
    sub = add("compare", _compare, "stage 5: compare the schedulers over the seeds")
    path(sub, STORE, SCORES, RUNS, AUDIT, REPORT)
    sub.add_argument("--before", type=Path, metavar="JSON", help="an earlier comparison.json, before decisions")
    sub = add("audit", _audit, "find wrong pairs, and which modality is to blame")
    path(sub, STORE, AUDIT)
    sub.add_argument("--if-enabled", action="store_true", help="do nothing unless audit.enabled is true")
    sub.add_argument(
        "--apply",
        type=_probability,
        metavar="P",
        help="write decisions.csv from the last audit, for samples that are wrong with more than this probability",
    )
    add_predict(add, RUNS)
    add_export(add, STORE, PLANS, RUNS)
    _add_result_commands(add, path)
    sub = add("doctor", _doctor, "check the installation, the device and the servers")
    sub.set_defaults(params=None)
    sub.add_argument("--bucket", metavar="S3_URL", help="require access to s3://bucket[/prefix]")
    sub.add_argument("--need-shared-memory", type=_above_zero, metavar="GIB", help="require a /dev/shm of this size")
    add_commands(add)
    sub = add("ui", _ui, "start the MLflow UI on this machine")
    sub.add_argument("--port", type=int, default=5000, help="default: %(default)s")
    return parser


def _add_data_commands(add: Callable[..., argparse.ArgumentParser], path: Callable[..., None]) -> None:
    sub = add("generate", _generate, "write built-in data as files")
    sub.add_argument("name", help="the data set to generate: digits")
    sub = add("fetch", _fetch, "fetch a version of a dataset that DVC tracks in a git repository", parameters=False)
    sub.add_argument("repository", metavar="REPOSITORY", help="path or URL of the git repository")
    sub.add_argument("--revision", default="", help="branch, tag or commit (default: the default branch)")
    sub.add_argument("--path", required=True, help="the dataset's folder in the repository")
    sub.add_argument("--to", type=Path, required=True, metavar="DIR", help="folder to write, new or empty")
    add("check-cache", _check_cache, "verify the digests of this checkout's objects in DVC's cache", parameters=False)
    sub = add("init", _init, "write a first params.yaml for your own data", parameters=False)
    which = sub.add_mutually_exclusive_group(required=True)
    which.add_argument(
        "--manifest", type=Path, help="CSV or Parquet file, dataset folder, or pattern such as 'data/{00..99}.tar'"
    )
    which.add_argument("--dataset", metavar="NAME", help="a published dataset, as listed by `bss presets`")
    sub.add_argument("--root", type=Path, help="folder of the published dataset")
    sub.add_argument("--protocol", choices=("honest", "published"), help="of the published dataset; default: honest")
    sub.add_argument("--method", choices=METHODS, help=METHOD_HELP)
    sub.add_argument("--output", type=Path, default=PARAMS, help="default: %(default)s")
    sub.add_argument(
        "--links",
        choices=("inside", "follow"),
        default="inside",
        help="prepare.links; follow: also read files outside the folder through links. Default: %(default)s",
    )
    sub.add_argument("--force", action="store_true", help="overwrite an existing file")
    sub = add("presets", _presets, "list the published datasets, or print one preset", parameters=False)
    sub.add_argument("name", nargs="?", help="print all parameters of this preset")
    sub.add_argument("--protocol", choices=("honest", "published"), default="honest", help="default: %(default)s")
    sub.add_argument("--method", choices=METHODS, help=METHOD_HELP)
    sub = add("prepare", _prepare, "stage 1: decode the data into a store")
    path(sub, STORE)
    sub.add_argument(
        "--features", action="store_true", help="also compute the features of frozen encoders, beside the store"
    )
    sub = add("inspect", _inspect, "show a prepared store as one HTML page", parameters=False)
    path(sub, STORE)
    sub.add_argument("--output", type=Path, default=INSPECTION, help="default: %(default)s")


def _add_result_commands(add: Callable[..., argparse.ArgumentParser], path: Callable[..., None]) -> None:
    sub = add("sync", _sync, "upload to MLflow what could not be sent during training", parameters=False)
    path(sub, RUNS)
    sub = add("show", _show, "print the last comparison")
    sub.add_argument("--markdown", action="store_true", help="print only the table, in Markdown")
    path(sub, REPORT)
    sub = add("sequence", _sequence, "regenerate the sequence of one epoch and check its digest")
    path(sub, STORE, PLANS, RUNS)
    sub.add_argument("--scheduler", required=True)
    sub.add_argument("--strategy", default="none")
    sub.add_argument("--seed", type=int, required=True)
    sub.add_argument("--epoch", type=int, required=True, help="counted from 0")


def _above_zero(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a positive number, but got: {text}")
    return number


def _probability(text: str) -> float:
    number = _above_zero(text)
    if number >= 1:
        raise argparse.ArgumentTypeError(f"must be a probability between 0 and 1, but got: {text}")
    return number


def _config(options: argparse.Namespace) -> "Config":
    from bss.config import load_config

    return load_config(options.params, options.overrides)


def _generate(options: argparse.Namespace) -> None:
    from bss.stages.generate import generate

    generate(_config(options), options.name, Path("data") / options.name)


def _fetch(options: argparse.Namespace) -> None:
    from bss.files import require_new
    from bss.redact import redact
    from bss.remote.fetch import fetch, locate

    require_new(options.to)
    version = locate(options.repository, options.revision, options.path)
    files = fetch(version, options.to)
    print(f"repository  {redact(version.repository)}, {version.path}")
    print(f"commit      {version.commit}")
    print(f"digest      {version.digest}")
    print(f"files       {files} in {options.to}")


def _check_cache(options: argparse.Namespace) -> None:
    from bss.remote.dvc_cache import check_cache

    check_cache(Path())


def _init(options: argparse.Namespace) -> None:
    from bss.init.command import init, init_dataset

    if options.manifest is not None:
        if any(value is not None for value in (options.root, options.protocol, options.method)):
            raise BssError("--root, --protocol and --method need --dataset; with --manifest, its folder is the root.")
        init(options.manifest, options.output, options.force, options.links)
        return
    if options.root is None:
        raise BssError(f"--dataset {options.dataset} needs --root, the folder that holds its files.")
    protocol = options.protocol or "honest"
    how = (options.method, options.output, options.force, options.links)
    init_dataset(options.dataset, options.root, protocol, *how)


def _presets(options: argparse.Namespace) -> None:
    from bss.init.command import show_presets

    show_presets(options.name, options.protocol, options.method)


def _prepare(options: argparse.Namespace) -> None:
    from bss.stages.prepare import prepare

    config = _config(options)
    prepare(config, Path(config.prepare.root), options.store)
    if options.features:
        from bss.training.frozen_features import write_features

        write_features(config, options.store)


def _inspect(options: argparse.Namespace) -> None:
    from bss.inspect.command import inspect

    inspect(options.store, options.output)


def _measure(options: argparse.Namespace) -> None:
    from bss.stages.measure import measure

    measure(_config(options), options.store, options.scores)


def _schedule(options: argparse.Namespace) -> None:
    from bss.stages.schedule import schedule

    schedule(_config(options), options.store, options.scores, options.plans)


def _train(options: argparse.Namespace) -> None:
    config = _config(options)
    from bss.stages.train import train
    from bss.training.trial_spec import TrialId, all_trials

    every = all_trials(config)
    trials = every
    for key in TrialId._fields:
        asked, known = getattr(options, key), dict.fromkeys(getattr(trial, key) for trial in every)
        for found in asked or []:
            if found not in known:
                raise BssError(f"--{key} {found}: {options.params} has {', '.join(map(str, known))}.")
        trials = [trial for trial in trials if not asked or getattr(trial, key) in asked]
    asked_for_some = any(getattr(options, key) for key in TrialId._fields)
    if not trials:
        raise BssError(f"{options.params}: combinations has none of --scheduler with one of --strategy.")
    train(config, options.store, options.scores, options.plans, options.runs, trials if asked_for_some else None)


def _tune(options: argparse.Namespace) -> None:
    config = _config(options)
    from bss.stages.tune import tune

    grid = (options.low, options.high, options.points, options.epochs, options.seed)
    tune(config, options.params, options.store, options.tune, *grid, options.write)


def _compare(options: argparse.Namespace) -> None:
    config = _config(options)
    from bss.stages.compare import compare

    folders = (options.store, options.scores, options.runs, options.report)
    compare(config, *folders, audit=options.audit, before=options.before)


def _audit(options: argparse.Namespace) -> None:
    config = _config(options)
    if options.apply is not None:
        from bss.stages.apply_audit import apply_audit

        apply_audit(config, options.store, options.audit, options.apply)
    elif options.if_enabled and not config.audit.enabled:
        options.audit.mkdir(parents=True, exist_ok=True)  # DVC wants the output; an earlier audit stays
        print("audit: off (audit.enabled in params.yaml)")
    else:
        from bss.stages.audit import audit

        audit(config, options.store, options.audit)


def _sync(options: argparse.Namespace) -> None:
    from bss.tracking.sync import sync

    sync(options.runs)


def _show(options: argparse.Namespace) -> None:
    from bss.console import make_console
    from bss.report.terminal import show

    show(options.report, make_console(), options.markdown)


def _sequence(options: argparse.Namespace) -> None:
    config = _config(options)
    from bss.stages.sequence import check_sequence

    trial = (options.scheduler, options.seed, options.epoch, options.strategy)
    check_sequence(config, options.store, options.plans, options.runs, *trial)


def _doctor(options: argparse.Namespace) -> int:
    from bss.doctor import doctor

    params = options.params
    if params is None and (PARAMS.exists() or options.overrides):
        params = PARAMS
    return doctor(params, options.overrides, options.bucket, options.need_shared_memory)


def _ui(options: argparse.Namespace) -> int:
    from bss.tracking.server import run_ui

    return run_ui(options.port)
