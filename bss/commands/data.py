"""The commands that make, fetch and describe data, and stage 1, which decodes it."""

import argparse
from pathlib import Path

from bss.commands.options import PARAMS, STORE, Add, add_links, add_paths, load
from bss.errors import BssError

INSPECTION = Path("outputs/inspect.html")
METHODS = ("bss-h", "bss-l")
METHOD_HELP = """use the settings of this method's published script, with its schedulers and the baseline; needs
--protocol published (default: all schedulers, with the batch size and epochs of the bss-h script)"""


def add_data_commands(add: Add) -> None:
    """Add the commands from generate to inspect."""
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
    sub.add_argument("--protocol", choices=("honest", "published"), help="protocol of the dataset; default: honest")
    sub.add_argument("--method", choices=METHODS, help=METHOD_HELP)
    sub.add_argument("--output", type=Path, default=PARAMS, help="default: %(default)s")
    add_links(sub, "prepare.links; follow: also read files outside the folder through links. Default: %(default)s")
    sub.add_argument("--force", action="store_true", help="overwrite an existing file")
    sub = add("presets", _presets, "list the published datasets, or print one preset", parameters=False)
    sub.add_argument("name", nargs="?", help="print all parameters of this preset")
    sub.add_argument("--protocol", choices=("honest", "published"), default="honest", help="default: %(default)s")
    sub.add_argument("--method", choices=METHODS, help=METHOD_HELP)
    sub.add_argument("--table", action="store_true", help="include the strategies that the paper compares with")
    sub = add("prepare", _prepare, "stage 1: decode the data into a store")
    add_paths(sub, STORE)
    sub.add_argument(
        "--features", action="store_true", help="also compute the features of frozen encoders, beside the store"
    )
    sub = add("inspect", _inspect, "show a prepared store as one HTML page", parameters=False)
    add_paths(sub, STORE)
    sub.add_argument("--output", type=Path, default=INSPECTION, help="default: %(default)s")


def _generate(options: argparse.Namespace) -> None:
    from bss.stages.generate import generate

    generate(load(options), options.name, Path("data") / options.name)


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
        if str(options.manifest).startswith("s3:/"):
            raise BssError(
                "--manifest: is on S3, but bss init needs files on disk. Download the manifest with some samples, "
                "run it on those, then set prepare.root to s3://bucket/prefix in the params.yaml that it writes."
            )
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

    show_presets(options.name, options.protocol, options.method, options.table)


def _prepare(options: argparse.Namespace) -> None:
    from bss.stages.prepare import prepare
    from bss.stages.raw_root import raw_root

    config = load(options)
    if options.features:  # before the long decoding, to report mistakes early
        from bss.models.huggingface.agreement import check_agreement

        check_agreement(config)
    with raw_root(config.prepare) as root:
        prepare(config, root, options.store)
    if options.features:
        from bss.console import make_console
        from bss.models.huggingface.agreement import resized_otherwise
        from bss.training.samples.frozen_features import why_not_kept, write_features

        write_features(config, options.store)
        lines = [f"features: {reason}." for reason in why_not_kept(config)]
        for line in [*lines, *(f"Note: {sentence}" for sentence in resized_otherwise(config))]:
            make_console().print(line, highlight=False, markup=False, soft_wrap=True)


def _inspect(options: argparse.Namespace) -> None:
    from bss.inspect.command import inspect

    inspect(options.store, options.output)
