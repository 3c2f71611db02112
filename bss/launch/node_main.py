"""One rank of a training on several nodes: fetches the files, trains, and hands the result back.

The Kubeflow Trainer starts it on every node through torchrun, as many times as train.processes says. All
that it tells goes to its log (`bss.launch.node_log`): a `row` of history.csv per epoch by rank 0, or
`failed` with why, and `expected` where it is a mistake that the text names.
"""

import argparse
import os
import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path

from bss.config import load_config
from bss.data.store import Store
from bss.errors import BssError
from bss.launch.node_log import tell
from bss.launch.rank_main import require_torchrun, run_rank, train_as_rank
from bss.launch.staging import NodeFiles, download_inputs
from bss.provenance import code_version
from bss.remote.object_store import upload_folder
from bss.training.trial_folder import trial_key

SECRET_FILES = "BSS_SECRET_FILES"
"""Environment variable with a folder of files, each named for a variable and holding its value."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Train as one rank; return 0 when done, 1 for a mistake that the message names, 130 when stopped."""
    options = _parser().parse_args(arguments)

    def work() -> None:
        try:
            _train(options)
        except Exception as error:
            expected = isinstance(error, BssError)
            text = str(error) if expected else traceback.format_exc()
            tell(failed=text, expected=expected)
            raise

    return run_rank(work)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bss.launch.node_main", description="One rank of several nodes, for torchrun."
    )
    for name in ("job", "store", "inputs", "result", "scheduler", "trial"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--seed", type=int, required=True)
    return parser


def _train(options: argparse.Namespace) -> None:
    require_torchrun()
    read_secret_files()
    folder = Path(tempfile.gettempdir()) / options.job
    files = download_inputs(options.store, options.inputs, folder, os.environ["LOCAL_RANK"] == "0")
    _check_code(files, options)
    out = folder / "result"
    places = (files.params, files.store, files.plans, out)
    train_as_rank(*places, options.scheduler, options.seed, lambda row: tell(row=row))
    if os.environ["RANK"] == "0":
        upload_folder(out, options.result)


def read_secret_files() -> None:
    """Put what the files of a mounted secret hold into the environment; what is there already stays."""
    folder = os.environ.get(SECRET_FILES)
    for path in sorted(Path(folder).glob("[A-Z]*")) if folder else []:
        os.environ.setdefault(path.name, path.read_text(encoding="utf-8").strip())


def _check_code(files: NodeFiles, options: argparse.Namespace) -> None:
    """Raise `BssError` if this code would give another result than the code that started it."""
    config = load_config(files.params)
    if trial_key(config, Store.open(files.store), files.plans, options.scheduler, options.seed) != options.trial:
        code = code_version()
        state = " with changes" if code["modified"] else ""
        raise BssError(
            f"the image of the nodes has other code than what started this training: commit {code['commit']}{state}. "
            "Build it from the same files (`make image`) and name it in BSS_IMAGE."
        )


if __name__ == "__main__":
    sys.exit(main())
