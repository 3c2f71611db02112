"""What a step of each strategy costs against plain training, beside what docs/strategies.md says."""

import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.comparison import Line
from benchmarks.crema import Shape, make_config, prepare_quietly, write_folder
from benchmarks.record import Benchmark, main
from bss.balance.sampler import SequenceSampler
from bss.balance.schedulers.uniform import UniformEntry
from bss.config import Config
from bss.config.strategies import find_strategies
from bss.data.store import Store
from bss.init.strategy_facts import FACTS
from bss.strategies import Strategy
from bss.training.begin_epoch import plan_epoch
from bss.training.distributed.ranks import ALONE
from bss.training.flops import EpochFlops
from bss.training.initial_network import initial_network
from bss.training.network_parts import parameter_groups
from bss.training.reproducible import make_reproducible, resolve_device
from bss.training.resume.state import TrainingState
from bss.training.samples.split_data import SplitData
from bss.training.sequences import split_into_batches
from bss.training.steps import make_optimiser, train_epoch
from bss.training.strategy.start import Teachers, config_for, start_strategy

SHAPE = Shape(seconds=2.5, height=90, width=120, crop=64)
ACTING: dict[str, dict[str, Any]] = {
    "agm": {"window": (0.0, 1.0)},
    "aug": {"every": 1},
    "g-blending": {"every": 1},
    "midas": {"warm_up": 0.0},
    "ogm": {"window": (0.0, 1.0)},
    "opm": {"window": (0.0, 1.0)},
    "pmr": {"window": (0.0, 1.0)},
    "reconboost": {"alone": 1, "joint": 1},
    "relearning": {"every": 1},
    "remix": {"warm_up": 1},
    "repair": {"warm_up": 1},
    "smp": {"warm_up": 1},
    "smv": {"warm_up": 1},
    "weights": {"encoder_gradients": 1.5},
}
"""Parameters that have a strategy act in every epoch after the first."""


class Training:
    """A training with `strategy`, an epoch per call."""

    def __init__(self, config: Config, store: Store, strategy: Strategy) -> None:
        config = config_for(strategy, config)
        device = resolve_device(config.resources.device)
        network = initial_network(config, store, 0, device)
        self.config = config
        self.splits = {split: SplitData(store, split, network, device) for split in ("train", "val")}
        train, entry = self.splits["train"], UniformEntry()
        sampler = SequenceSampler(len(train), entry, 0, labels=store.labels[train.rows])
        teachers = None
        if strategy.taught:  # which train as long as they like: only a pass through them is part of a step
            taught = initial_network(config, store, 1, device).eval().requires_grad_(False)
            teachers = Teachers(taught, 0, 0, 0, 0.0)
        run = start_strategy(strategy, config, store, network, ALONE, 0, teachers)
        optimiser = make_optimiser(network, config.train.optimiser, None if run is None else parameter_groups(network))
        self.state = TrainingState(network, optimiser, sampler, ALONE, None, time.perf_counter(), run)
        self.flops, self.entry, self.epoch = EpochFlops(network, train), entry, 0

    def __call__(self) -> tuple[float, int]:
        """Return the seconds of the steps of the next epoch, and its operations, with those of passes before it.

        On a CPU they are seconds of computing, on a GPU of waiting.
        """
        state, train = self.state, self.splits["train"]
        plan_epoch(self.config.train, state, self.splits, self.epoch)
        sequence = state.sampler.sequence if state.strategy is None else state.strategy.shown(state.sampler.sequence)
        batches = split_into_batches(sequence, self.config.train.batch_size)
        clock = time.process_time if state.device.type == "cpu" else time.perf_counter  # others may use the processor
        started = clock()
        arguments = (state.network, state.optimiser, train, batches)
        train_epoch(*arguments, seed=0, epoch=self.epoch, strategy=state.strategy)
        seconds = clock() - started
        flops = self.flops(state.strategy, self.entry, self.epoch, sum(map(len, batches)))
        self.epoch += 1
        return seconds, flops


def run(samples: int, repetitions: int, batch_size: int, channels: int, device: str = "cpu") -> list[Line]:
    """Train an epoch with each strategy in turns, so that all see the same machine."""
    make_reproducible()
    shape = replace(SHAPE, channels=channels)
    strategies = {strategy.kind: strategy(**ACTING.get(strategy.kind, {})) for strategy in find_strategies()}
    kinds = list(strategies)
    seconds: dict[str, list[float]] = {kind: [] for kind in kinds}
    flops: dict[str, list[float]] = {kind: [] for kind in kinds}
    with tempfile.TemporaryDirectory() as folder:
        root = write_folder(Path(folder) / "data", samples, 12, shape)
        uniform = {"uniform": {"kind": "uniform"}}
        config = make_config(root, shape, repetitions + 1, batch_size, uniform, device=device)
        store = prepare_quietly(config, root)
        trainings = {kind: Training(config, store, strategies[kind]) for kind in kinds}
        epochs = {kind: training.config.train.epochs for kind, training in trainings.items()}
        for repetition in range(repetitions + 1):
            for kind in kinds if repetition % 2 == 0 else reversed(kinds):
                spent, operations = trainings[kind]()
                if repetition:  # in the first epoch most look on
                    seconds[kind].append(spent)
                    flops[kind].append(operations)
    plain = float(np.mean(flops["none"]))
    busy = f"load {os.getloadavg()[0]:.1f}"
    return [
        Line(
            f"steps of an epoch with {kind} / plain",
            seconds[kind],
            seconds["none"],
            note=f"expected: {FACTS[kind].cost}; operations of the epoch, with the passes before it: "
            f"x{np.mean(flops[kind]) / plain:.2f}"
            + (f"; epochs: x{epochs[kind] / epochs['none']:g}" if epochs[kind] != epochs["none"] else "")
            + (f"; {busy}" if kind == kinds[1] else ""),
        )
        for kind in kinds[1:]
    ]


BENCHMARK = Benchmark(
    "strategy_cost",
    "What strategies cost",
    "The steps of an epoch with each strategy against those of plain training, in turns in one process with one "
    "thread, in seconds of processor time. The first line has the load average of the machine at the end: far above 1 "
    "means that it was shared with other work, which still shows in the spread. Two ResNet-18 (stem of `channels` "
    "channels) on sounds of 2.5 s (257 x 157) and images of 64 x 64; parameters are the defaults, but every strategy "
    "acts from the second epoch on. Expected is what docs/strategies.md says of a step, from the methods' formulas. "
    "Passes that a strategy makes before an epoch are not in the seconds but in the operations, which are counted and "
    "do not depend on the machine. Teachers are not trained here, and are as large as the network.",
    {"samples": 24, "repetitions": 3, "batch_size": 8, "channels": 4},
    run,
)

if __name__ == "__main__":
    main(BENCHMARK)
