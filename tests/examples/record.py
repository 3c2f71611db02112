"""Run in each process of a group: the examples' loops, right and wrongly configured; writes what they trained on.

    python record.py FILE

RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT say which process of several this is, as with torchrun.
"""

import importlib
import json
import os
import runpy
import shutil
import sys
import tempfile
import warnings
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch

PROJECT = Path(__file__).parents[2]
sys.path[:0] = [str(PROJECT / "examples"), str(PROJECT)]

from bss.balance import Heuristic, Learned, Pacing, SequenceSampler  # noqa: E402

NAMES = ("plain_pytorch", "with_accelerate", "with_lightning", "with_trainer")
SCORES = np.random.default_rng(0).permutation(192)
RANK, RANKS = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
OWN_SHARE = {"rank": RANK, "ranks": RANKS}


class StoppedError(Exception):
    """As if the trial had been killed."""


@contextmanager
def replaced(owner, name, value):
    """Replace an attribute for the time of a block."""
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


def trained(example, scheduler, stop_after=None, folder=None, **options):
    """Run an example's loop; return epoch and samples of each batch that passed the check."""
    batches = []
    check = SequenceSampler.check

    def recorded(self, index):
        check(self, index)
        batches.append((self.epoch, index.tolist()))
        if len(batches) == stop_after:
            raise StoppedError

    place = tempfile.mkdtemp() if folder is None else folder
    try:
        with replaced(SequenceSampler, "check", recorded):
            example.train(scheduler, Path(place), **options)
    except StoppedError:
        assert len(batches) == stop_after
    finally:
        if folder is None:
            shutil.rmtree(place)
    return batches


def refusal(example, **options):
    """Return the message of the RuntimeError that a wrong loop ends with, and how many batches passed the check."""
    passed = []
    check = SequenceSampler.check

    def counted(self, index):
        check(self, index)
        passed.append(index)

    try:
        with replaced(SequenceSampler, "check", counted), tempfile.TemporaryDirectory() as folder:
            example.train(Learned(), Path(folder), epochs=2, warmup_epochs=2, **options)
    except RuntimeError as error:
        return str(error), len(passed)
    return "trained", len(passed)


def record(name, shared):
    """Return what the example `name` does; `shared` is a folder of all processes."""
    example = importlib.import_module(name)
    whole_epochs = {} if name in ("with_lightning", "with_trainer") else {"num_samples": len(SCORES)}
    learned = {"epochs": 3, "warmup_epochs": 1}
    folder = shared / name
    folder.mkdir(exist_ok=True)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        whole = trained(example, Learned(), **learned)
        found = {
            "whole": whole,
            "before": trained(example, Learned(), stop_after=31, folder=folder, **learned),
            "after": trained(example, Learned(), folder=folder, **learned),
            "heuristic": trained(
                example, Heuristic(Pacing(start=0.5, grow_epochs=2)), epochs=2, scores=SCORES, **whole_epochs
            ),
        }  # fmt: skip
    return {**found, "warnings": sorted({str(w.message) for w in caught if w.filename.startswith(str(PROJECT))})}


def dispatching(sampler):
    """Return Accelerate's loader that reads in one process for all, as in the first of two processes."""
    from accelerate.data_loader import DataLoaderDispatcher

    loader = DataLoaderDispatcher(range(32), batch_size=4, sampler=sampler)
    loader.state = SimpleNamespace(num_processes=2, process_index=0)
    return loader


def refusals():
    """Return the messages about loops that shard twice, not at all, or use another sampler."""
    accelerated, lightning, trainer = map(importlib.import_module, NAMES[1:])
    found = {}
    dispatcher = dispatching(SequenceSampler(32, Learned(), 0, ranks=2))
    try:
        next(iter(dispatcher))
    except RuntimeError as error:
        found["Accelerate dispatches"] = str(error), 0
    make = lightning.L.Trainer
    with replaced(lightning.L, "Trainer", lambda **given: make(**{**given, "overfit_batches": 4})):
        found["Lightning overfits"] = refusal(lightning)
    with replaced(trainer.Balanced, "_get_train_sampler", trainer.Trainer._get_train_sampler):
        found["Trainer's own sampler"] = refusal(trainer)
    if RANKS > 1:
        with replaced(lightning.L, "Trainer", lambda **given: make(**{**given, "use_distributed_sampler": True})):
            found["Lightning shards"] = refusal(lightning)
        found["Accelerate shards"] = refusal(accelerated, **OWN_SHARE)
        found["Trainer shards"] = refusal(trainer, **OWN_SHARE)
        with replaced(accelerated.Accelerator, "gather", lambda self, own: own):
            found["not gathered"] = refusal(accelerated)
        plain_sampler = SequenceSampler(32, Learned(), 0)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            list(plain_sampler)
        found["not sharded"] = [str(warning.message) for warning in caught]
    return found


def printed(name):
    """Return what `python examples/<name>.py` prints."""
    with redirect_stdout(StringIO()) as output:
        runpy.run_path(str(PROJECT / "examples" / f"{name}.py"), run_name="__main__")
    return output.getvalue()


if __name__ == "__main__":
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"  # or Accelerate starts a thread per processor
    result = Path(sys.argv[1])
    if RANKS > 1:
        torch.distributed.init_process_group("gloo")
    found = {name: record(name, result.parent) for name in NAMES} | {"refusals": refusals()}
    if RANKS == 1:
        found["printed"] = {name: printed(name) for name in NAMES}
    result.write_text(json.dumps(found), encoding="utf-8")
