"""The arguments of `bss export`."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bss.commands.options import PLANS, RUNS, STORE, Add, add_paths, load
from bss.errors import BssError

if TYPE_CHECKING:
    from bss.config import Config

FORMATS = ("manifest", "webdataset", "huggingface")


def add_export(add: Add) -> None:
    """Add `bss export` with `add`."""
    sub = add("export", _export, "write a plan, a sequence or a curated subset for other trainers")
    sub.add_argument("what", choices=("plan", "sequence", "data"))
    sub.add_argument("--to", type=Path, required=True, metavar="PATH", help="file or new folder to write")
    sub.add_argument("--scheduler", help="scheduler of the plan or sequence; for data: leave out what it trims")
    sub.add_argument("--seed", type=int)
    sub.add_argument("--strategy", default="none", help="strategy of the sequence's trial; default: %(default)s")
    sub.add_argument("--epoch", type=int, help="epoch of the sequence, counted from 0")
    sub.add_argument("--as", choices=FORMATS, dest="form", help="format of the data")
    sub.add_argument("--keep", type=Path, metavar="FILE", help="CSV or Parquet file with the ids of the data to keep")
    sub.add_argument(
        "--drop", type=Path, metavar="FILE", help="CSV or Parquet file with the ids of the data to leave out"
    )
    sub.add_argument("--where", metavar="COLUMN=VALUE", help="use only the matching rows of --keep or --drop")
    add_paths(sub, STORE, PLANS, RUNS)


def _export(options: argparse.Namespace) -> None:
    needed = {"plan": ("scheduler", "seed"), "sequence": ("scheduler", "seed", "epoch"), "data": ("form",)}
    missing = [_option(name) for name in needed[options.what] if getattr(options, name) is None]
    if missing:
        raise BssError(f"`bss export {options.what}` needs {', '.join(missing)}.")
    others = {"plan": ("epoch", "form", "keep", "drop", "where"), "sequence": ("form", "keep", "drop", "where")}
    unused = [_option(name) for name in others.get(options.what, ("epoch",)) if getattr(options, name) is not None]
    if unused:
        raise BssError(f"`bss export {options.what}` takes no {', '.join(unused)}.")
    config = load(options)
    if options.what == "data":
        _data(config, options)
        return
    from bss.export.order import export_plan, export_sequence
    from bss.training.trial_spec import TrialId

    trial = TrialId(options.scheduler, options.seed, options.strategy)
    if options.what == "plan":
        export_plan(config, options.store, options.plans, trial, options.to)
    else:
        export_sequence(config, options.store, options.plans, options.runs, trial, options.epoch, options.to)


def _data(config: "Config", options: argparse.Namespace) -> None:
    from bss.data.store import Store
    from bss.export.command import export_data
    from bss.export.subset import listed_ids, trimmed_ids
    from bss.files import digest_file
    from bss.stages.raw_root import raw_root
    from bss.training.trial_spec import TrialId

    if options.where is not None and ("=" not in options.where or not (options.keep or options.drop)):
        raise BssError(f"--where {options.where}: must be COLUMN=VALUE, and needs --keep or --drop.")
    if (options.scheduler is None) != (options.seed is None):
        raise BssError("--scheduler and --seed belong together: the plan of a seed says which samples it trims.")
    ids: set[str] | None = None
    chosen: dict[str, Any] = {}
    for name in ("keep", "drop"):
        if (path := getattr(options, name)) is not None:
            chosen[name] = {"sha256": digest_file(path) if path.is_file() else "", "where": options.where}
    if options.keep is not None:
        ids = listed_ids(options.keep, options.where, options.store)
    dropped = set() if options.drop is None else listed_ids(options.drop, options.where, options.store)
    if options.scheduler is not None:
        trial = TrialId(options.scheduler, options.seed)
        dropped |= trimmed_ids(config, options.store, options.plans, trial)
        chosen["trimmed by"] = {"scheduler": options.scheduler, "seed": options.seed}
    if dropped:
        ids = (set(Store.open(options.store).ids.tolist()) if ids is None else ids) - dropped
    with raw_root(config.prepare) as root:
        export_data(config, root, options.store, options.form, options.to, ids, chosen)


def _option(name: str) -> str:
    return "--as" if name == "form" else f"--{name}"
