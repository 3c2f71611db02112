"""One rank of a trial, started by torchrun on one machine or on several.

``torchrun --nnodes N --nproc-per-node P -m bss.launch.rank_main --params FILE --store DIR --plans DIR
--scheduler NAME [--strategy NAME] --seed S --out DIR``, on every machine with the same arguments and the same files.
N and P are `train.nodes` and `train.processes` of the parameters. Only rank 0 writes: the trial's folder to
--out, atomically, and a row of history.csv per epoch, as a line of JSON, to --progress.
"""

import argparse
import fcntl
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from torch.distributed.elastic.multiprocessing.errors import get_error_handler

from bss.artifacts.plans import Plan
from bss.config import Config, load_config
from bss.config.combinations import PLAIN
from bss.data.store import Store
from bss.errors import BssError
from bss.launch.trial_arguments import add_trial_arguments, asked_trial
from bss.provenance import code_version
from bss.signals import interrupted_by_sigterm, stop_signal_as_sigterm
from bss.training.distributed.ranks import join_ranks
from bss.training.reproducible import make_reproducible, resolve_device
from bss.training.resume.state import Row
from bss.training.trial_folder import train_into
from bss.training.trial_spec import Trial, TrialId, describe_trial, read_trial_plan, trial_parameters

END_SECONDS = 15.0
"""Seconds for a stopped rank to save its state and remove unfinished files."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Train as one rank; return 0 on success, 1 on an error that was reported, 130 if stopped."""
    options = _parser().parse_args(arguments)
    if options.end_with_stdin:
        threading.Thread(target=_end_with_stdin, daemon=True).start()

    def work(on_epoch: Callable[[Row], None]) -> None:
        require_torchrun()
        asked = asked_trial(options)
        config, data = open_inputs(options.params, options.store, asked)
        plan = read_trial_plan(config, data, options.plans, asked)
        key, plan_digest, code = options.trial or ("", "", "")
        if code == code_version()["digest"]:
            parameters = trial_parameters(config, asked)
            trial = Trial(asked, options.out, options.plans, plan_digest, key, code, parameters)
        else:  # started by hand, or the code was changed since the starter read it
            trial = describe_trial(config, data, options.plans, asked, options.out, plan)
        train_as_rank(trial, plan, config, data, on_epoch)

    if options.progress is None:
        return run_rank(lambda: work(lambda row: None))
    with options.progress.open("a", encoding="utf-8", buffering=1) as file:
        fcntl.flock(file, fcntl.LOCK_SH)  # until this rank ends: the successor of a killed starter waits for it

        def on_epoch(row: Row) -> None:
            file.write(json.dumps(row) + "\n")

        return run_rank(lambda: work(on_epoch))


def run_rank(work: Callable[[], None]) -> int:
    """Call `work`, report its errors to torchrun, and return the exit status like `main`."""
    handler = get_error_handler()  # writes the file named in torchrun's environment
    stop_signal_as_sigterm()
    try:
        with interrupted_by_sigterm():
            work()
    except BssError as error:
        handler.record_exception(error)
        print(f"bss: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        handler.record_exception(error)
        raise
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bss.launch.rank_main", description="One rank of a trial, for torchrun.")
    for name in ("params", "store", "plans", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    add_trial_arguments(parser)
    parser.add_argument(
        "--trial", nargs=3, metavar=("KEY", "PLAN", "CODE"), help="the trial's key, and digests of its plan and code"
    )
    parser.add_argument("--progress", type=Path, help="file that rank 0 adds a line of JSON to after each epoch")
    parser.add_argument(
        "--end-with-stdin", action="store_true", help="end when standard input closes, because the starter is gone"
    )
    return parser


def require_torchrun() -> None:
    """Raise `BssError` unless torchrun started this process."""
    missing = [name for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE") if name not in os.environ]
    if missing:
        raise BssError(f"{missing[0]}: missing from the environment. Start `-m bss.launch.rank_main` with torchrun.")


def open_inputs(params: Path, store: Path, trial: TrialId) -> tuple[Config, Store]:
    """Return the parameters and the store of a rank of `trial`, and make this process reproducible.

    Raises `BssError` if torchrun started a different number of ranks than specified in the file `params`.
    """
    config = load_config(params)
    _check(config, params, trial)
    make_reproducible(config.resources.deterministic)
    return config, Store.open(store)


def train_as_rank(trial: Trial, plan: Plan, config: Config, data: Store, on_epoch: Callable[[Row], None]) -> None:
    """Run one trial as the rank that torchrun's environment names, with all others; rank 0 writes its folder."""
    with join_ranks(resolve_device(config.resources.device)) as ranks:
        train_into(trial, plan, config, data, on_epoch, ranks)


def _check(config: Config, params: Path, trial: TrialId) -> None:
    started, asked = int(os.environ["WORLD_SIZE"]), config.train.nodes * config.train.processes
    if started != asked:
        raise BssError(
            f"{params}: train.nodes x train.processes is {config.train.nodes} x {config.train.processes}, "
            f"but torchrun started {started} processes. Give torchrun the same numbers."
        )
    known = {"scheduler": list(config.schedule.schedulers), "strategy": [PLAIN, *config.strategies]}
    for key, names in known.items():
        if getattr(trial, key) not in names:
            raise BssError(f"--{key} {getattr(trial, key)}: {params} has {', '.join(dict.fromkeys(names))}.")


def _end_with_stdin() -> None:
    """End this rank when standard input closes, gently at first."""
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(END_SECONDS)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
