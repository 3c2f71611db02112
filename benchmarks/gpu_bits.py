"""Part of `make gpu`: trials that must give the same bits, and steps that must not wait for the GPU."""

import time
from collections.abc import Iterator
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.comparison import Line
from benchmarks.digits_tree import digits_config, plan_digits, prepare_digits
from benchmarks.gpu_setting import Setting
from bss.balance import Learned, SequenceSampler
from bss.config import Config
from bss.data.store import Store
from bss.files import digest_file
from bss.stages.train import train
from bss.training.initial_network import initial_network
from bss.training.reproducible import make_reproducible
from bss.training.resume.checkpoints import Checkpoints
from bss.training.samples.split_data import SplitData
from bss.training.sequences import split_into_batches
from bss.training.steps import make_optimiser, train_epoch
from bss.training.trial_folder import train_into
from bss.training.trial_spec import TrialId, describe_trial, read_trial_plan

SCHEDULER = "bss-l-online"
SAME = ("history.csv", "metrics.json", "model.pt", "predictions.parquet", "sequences.parquet")
"""Files of a training that hold results and no times."""
JOBS = 4


class Stopped(BaseException):
    """Stands for the end of a process."""


def run(setting: Setting) -> Iterator[Line]:
    """Yield the lines; RuntimeError in the end if bits differ."""
    epochs, stop = (2, 5) if setting.small else (4, 50)
    more = ["prepare.val_share=0.5", "train.batch_size=64"] if setting.small else []
    more += [f"train.epochs={epochs}", "train.decay.at=[1]", "measure.warmup_epochs=0", "seeds=[0, 1, 2, 3]"]
    config = digits_config(setting.shared, setting.device, *more)
    store = prepare_digits(config, setting.shared)
    _, plans = plan_digits(config, store, setting.folder)
    differing: list[str] = []

    def exact(what: str, folder: Path, other: Path) -> Line:
        names = [name for name in SAME if digest_file(folder / name) != digest_file(other / name)]
        differing.extend(f"{what}: {name}" for name in names)
        note = f"{len(SAME)} files compared" + (f"; {', '.join(names)} differ" if names else "")
        return Line(what, [float(len(names))], unit="files differ", at_most=0, note=note)

    changes: dict[str, list[str]] = {"fp32": [], "bf16": ["train.precision=bf16"]}
    if setting.device == "cuda":
        changes["CUDA graphs"] = ["train.compile=graphs"]
    for name, overrides in changes.items():
        changed = digits_config(setting.shared, setting.device, *more, *overrides)
        whole = _train(changed, store, plans, setting.folder / f"whole-{name}")
        stopped = _train(changed, store, plans, setting.folder / f"stopped-{name}", stop)
        yield exact(f"stopped after step {stop} and resumed / never stopped, {name}", stopped, whole)
    if setting.device == "cuda":
        yield exact("CUDA graphs / plain steps", setting.folder / "whole-CUDA graphs", setting.folder / "whole-fp32")
    yield from _waits(config, Store.open(store))
    seconds: dict[int, float] = {}
    for jobs in (1, 2 if setting.small else JOBS):
        together = digits_config(setting.shared, setting.device, *more, f"resources.jobs={jobs}")
        runs, started = setting.folder / f"jobs-{jobs}", time.perf_counter()
        with redirect_stdout(StringIO()):
            trials = [(SCHEDULER, seed) for seed in range(JOBS)]
            train(together, store, setting.folder / "scores", plans, runs, trials)
        seconds[jobs] = time.perf_counter() - started
    jobs = max(seconds)
    yield Line(f"{JOBS} trials, {jobs} at a time / one at a time", [seconds[jobs]], [seconds[1]])
    for seed in range(JOBS):
        trial = f"{SCHEDULER}/seed={seed}"
        yield exact(
            f"training {seed}, {jobs} at a time / one at a time",
            setting.folder / f"jobs-{jobs}" / trial,
            setting.folder / "jobs-1" / trial,
        )
    if differing:
        raise RuntimeError(f"{len(differing)} files differ. {'; '.join(differing)}")


def _train(config: Config, store: Path, plans: Path, path: Path, stop: int | None = None) -> Path:
    """Train into `path`; with `stop` end right after the checkpoint of that step, and resume."""
    data = Store.open(store)

    def start() -> None:
        plan = read_trial_plan(config, data, plans, TrialId(SCHEDULER, 0))
        trial = describe_trial(config, data, plans, TrialId(SCHEDULER, 0), path, plan)
        train_into(trial, plan, config, data, lambda row: None)

    if stop is not None:
        due, save = Checkpoints.due, Checkpoints.save

        def save_and_end(self: Checkpoints, state: dict, steps: int) -> None:
            save(self, state, steps)
            raise Stopped

        Checkpoints.due = lambda self, steps: steps == stop  # type: ignore[method-assign]
        Checkpoints.save = save_and_end  # type: ignore[method-assign]
        try:
            start()
            raise RuntimeError(f"the training ended before step {stop}")
        except Stopped:
            pass
        finally:
            Checkpoints.due, Checkpoints.save = due, save  # type: ignore[method-assign]
    start()
    return path


class _Waits(TorchDispatchMode):
    """Counts where a number is fetched from a tensor, for which the host would wait for a GPU."""

    count = 0

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):  # type: ignore[no-untyped-def]
        self.count += function in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default)
        return function(*arguments, **(keywords or {}))


def _waits(config: Config, store: Store) -> Iterator[Line]:
    """Take an epoch in which, from the second step on, waiting for the GPU is an error, or is counted on a CPU."""
    make_reproducible()
    device = torch.device(config.resources.device)
    network = initial_network(config, store, 0, device)
    data = SplitData(store, "train", network, device)
    batches = split_into_batches(np.random.default_rng(0).permutation(len(data)), config.train.batch_size)
    sampler = SequenceSampler(len(data), Learned(), 0, scores=np.zeros(len(data)))
    sampler.set_epoch(0)
    waits = _Waits()

    def after_step(step: int, total: torch.Tensor) -> None:
        inside = step < len(batches)
        if device.type == "cuda":
            torch.cuda.set_sync_debug_mode("error" if inside else "default")
        elif step == 1:
            waits.__enter__()
        elif not inside:
            waits.__exit__(None, None, None)

    def observe(index: np.ndarray, outputs: object, loss: torch.Tensor) -> None:
        sampler.observe(index, outputs.logits, loss)  # type: ignore[attr-defined]

    optimiser = make_optimiser(network, config.train.optimiser)
    try:
        train_epoch(network, optimiser, data, batches, observe, after_step=after_step, seed=0, epoch=0)
    finally:
        if device.type == "cuda":
            torch.cuda.set_sync_debug_mode("default")
    how = "torch.cuda.set_sync_debug_mode" if device.type == "cuda" else "counting operations that fetch a number"
    yield Line(
        f"waits for the device within {len(batches) - 1} steps",
        [float(waits.count)],
        unit="waits",
        at_most=0,
        note=f"by {how}",
    )
