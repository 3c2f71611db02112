"""One rank of a trial on several nodes: fetches the files, trains, and hands the result back.

The Kubeflow Trainer starts it on every node through torchrun, as many times as train.processes says. All
messages go to its log (`bss.launch.node_log`): a `row` of history.csv per epoch by rank 0, or
`failed` with the reason, plus `expected` if the message is meant for the user.
"""

import argparse
import os
import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path

from bss.errors import BssError
from bss.launch.node_log import send
from bss.launch.rank_main import open_inputs, require_torchrun, run_rank, train_as_rank
from bss.launch.staging import download_inputs
from bss.launch.trial_arguments import add_trial_arguments, asked_trial
from bss.provenance import code_version
from bss.remote.object_store import upload_folder
from bss.training.trial_spec import Trial, describe_trial, read_trial_plan

SECRET_FILES = "BSS_SECRET_FILES"
"""Environment variable with a folder of files, each named after a variable and containing its value."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Train as one rank; return 0 on success, 1 on an error that was reported, 130 if stopped."""
    options = _parser().parse_args(arguments)

    def work() -> None:
        try:
            _train(options)
        except Exception as error:
            expected = isinstance(error, BssError)
            text = str(error) if expected else traceback.format_exc()
            send(failed=text, expected=expected)
            raise

    return run_rank(work)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bss.launch.node_main", description="One rank of several nodes, for torchrun."
    )
    for name in ("job", "store", "inputs", "result", "trial"):
        parser.add_argument(f"--{name}", required=True)
    add_trial_arguments(parser)
    return parser


def _train(options: argparse.Namespace) -> None:
    require_torchrun()
    read_secret_files()
    folder = Path(tempfile.gettempdir()) / options.job
    files = download_inputs(options.store, options.inputs, folder, os.environ["LOCAL_RANK"] == "0")
    asked = asked_trial(options)
    config, data = open_inputs(files.params, files.store, asked)
    plan = read_trial_plan(config, data, files.plans, asked)
    trial = describe_trial(config, data, files.plans, asked, folder / "result", plan)
    _check_code(trial, options.trial)
    train_as_rank(trial, plan, config, data, lambda row: send(row=row))
    if os.environ["RANK"] == "0":
        upload_folder(trial.folder, options.result)


def read_secret_files() -> None:
    """Load the files of a mounted secret into the environment; existing variables win."""
    folder = os.environ.get(SECRET_FILES)
    for path in sorted(Path(folder).glob("[A-Z]*")) if folder else []:
        os.environ.setdefault(path.name, path.read_text(encoding="utf-8").strip())


def _check_code(trial: Trial, key: str) -> None:
    """Raise `BssError` if this code would give another result than the code that started it, with `key`."""
    if trial.key != key:
        code = code_version()
        state = " with changes" if code["modified"] else ""
        raise BssError(
            f"the nodes' image has different code than the process that starts them: commit {code['commit']}{state}. "
            "Build it from the same files (`make image`) and set BSS_IMAGE to it."
        )


if __name__ == "__main__":
    sys.exit(main())
