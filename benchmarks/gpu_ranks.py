"""Part of `make gpu`: one training over two ranks, on two GPUs or on one."""

import multiprocessing
import os
import socket
from collections.abc import Iterator
from contextlib import redirect_stdout
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import torch

from benchmarks.comparison import Line
from benchmarks.digits_tree import digits_config, plan_digits, prepare_digits
from benchmarks.gpu_setting import Setting
from bss.config import Config
from bss.data.store import Store
from bss.training.distributed.ranks import ALONE, Ranks
from bss.training.reproducible import make_reproducible
from bss.training.trial import train_trial
from bss.training.trial_spec import TrialId, read_trial_plan

SCHEDULER = "bss-l-online"
RANKS = 2
SECONDS = 40.0
"""That a backend may take: one that refuses may also wait for ever."""


def run(setting: Setting) -> Iterator[Line]:
    """Yield one line: the first epochs' training losses of two ranks against those of one."""
    small = ["prepare.val_share=0.5", "train.batch_size=64"] if setting.small else []
    more = [*small, "train.epochs=1", "train.decay.at=[]", "measure.warmup_epochs=0", "seeds=[0]"]
    config = digits_config(setting.shared, setting.device, *more)
    store = prepare_digits(config, setting.shared)
    _, plans = plan_digits(config, store, setting.folder)
    backends = ["gloo"] if setting.device == "cpu" else ["nccl", "gloo"]
    refused = ""
    for backend in backends:
        try:
            losses = _together(backend, config, store, plans)
            break
        except RuntimeError as error:
            refused += f"; {backend}: {error}"
    else:
        raise RuntimeError(f"no backend takes two ranks{refused}")
    alone = _losses(config, store, plans, ALONE)
    differences = [abs(a - b) / b for a, b in zip(losses, alone, strict=True)]
    yield Line(
        f"training loss of {len(alone)} epochs, {RANKS} ranks with {backend} / one rank",
        losses,
        alone,
        unit="",
        note=f"the largest relative difference is {max(differences):.1g}{refused}",
    )
    if max(differences) > 0.01:
        raise RuntimeError(f"the losses of {RANKS} ranks differ from those of one by {max(differences):.1%}")


def _losses(config: Config, store: Path, plans: Path, ranks: Ranks) -> list[float]:
    data = Store.open(store)
    trial = TrialId(SCHEDULER, 0)
    plan = read_trial_plan(config, data, plans, trial)
    rows: list[dict[str, Any]] = []
    train_trial(config, data, plan, SCHEDULER, 0, None, rows.append, ranks)
    return [row["train/loss"] for row in rows]


def _together(backend: str, config: Config, store: Path, plans: Path) -> list[float]:
    """Train over two processes; RuntimeError with the first one's message if they do not end well in time."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("forkserver")  # whose processes have imported everything
    queue = context.Queue()
    arguments = (backend, port, config, store, plans, queue)
    processes = [context.Process(target=_rank, args=(rank, *arguments)) for rank in range(RANKS)]
    try:
        for process in processes:
            process.start()
        found: dict[int, Any] = {}
        while len(found) < RANKS:
            rank, losses, message = queue.get(timeout=SECONDS)
            if message is not None:
                raise RuntimeError(message)
            found[rank] = losses
    except Exception as error:
        raise RuntimeError(str(error).strip().splitlines()[0] if str(error).strip() else "it did not end") from error
    finally:
        for process in processes:
            process.kill()
            process.join()
    if found[0] != found[1]:
        raise RuntimeError(f"the ranks have different losses: {found}")
    losses_of_all: list[float] = found[0]
    return losses_of_all


def _rank(rank: int, backend: str, port: int, config: Config, store: Path, plans: Path, queue: Any) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    try:
        make_reproducible()
        if config.resources.device == "cuda":
            torch.cuda.set_device(rank % torch.cuda.device_count())
        with redirect_stdout(StringIO()):
            timeout = timedelta(seconds=SECONDS)
            torch.distributed.init_process_group(backend, rank=rank, world_size=RANKS, timeout=timeout)
            losses = _losses(config, store, plans, Ranks(rank, RANKS))
        queue.put((rank, losses, None))
    except Exception as error:
        queue.put((rank, None, f"{type(error).__name__}: {error}"))
