"""Floating-point operations of an epoch, counted by rehearsing its steps on a few samples."""

import copy
from contextlib import nullcontext

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from bss.balance.schedulers import Entry
from bss.models.network import MultiModalNetwork
from bss.strategies.base import ALL, Arranged
from bss.training.distributed.ranks import ALONE
from bss.training.split_data import SplitData
from bss.training.step import Step
from bss.training.strategy_run import StrategyRun
from bss.training.turns import take_turns

ROWS = 4
"""Samples of a rehearsed step. What a step does is linear in them, but for comparisons of all pairs of a batch."""


class EpochFlops:
    """Counts the operations of matrix products and convolutions, forward and backward, as torch's counter does.

    A rehearsal changes nothing: it runs on copies, and restores the generators. Plain steps are always the same, so
    they are rehearsed once; steps of a strategy once per epoch.
    """

    def __init__(self, network: MultiModalNetwork, train: SplitData) -> None:
        self.network, self.train = network, train
        self._plain: int | None = None
        self._read: int | None = None

    def __call__(self, run: StrategyRun | None, entry: Entry, epoch: int, samples: int) -> int:
        """Return the operations of `epoch`, whose steps showed `samples`, and of the passes before it."""
        read = 0 if run is None else run.read
        every = entry.measures_every
        if every is not None and entry.measures_by != "online" and epoch and epoch % every == 0:
            read += len(self.train)
        if read and (run is not None or self._read is None):  # a strategy's heads may have grown
            self._read = self._forward()
        total = read * (self._read or 0)
        if run is None:
            self._plain = self._step(None, ALL) if self._plain is None else self._plain
            return total + self._plain * samples
        kept = np.full(samples, ALL) if run.arranged is None else run.arranged.kept[:samples]
        numbers, counts = np.unique(kept, return_counts=True)
        steps = [
            self._step(run, number) * count for number, count in zip(numbers.tolist(), counts.tolist(), strict=True)
        ]
        return total + sum(steps)

    def _forward(self) -> int:
        """Return the operations of one sample in eval mode."""
        self.network.eval()
        ((inputs, _),) = self.train.batches([self._rows()])
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            self.network(inputs)
        return int(counter.get_total_flops()) // len(self._rows())

    def _step(self, run: StrategyRun | None, kept: int) -> int:
        """Return the operations of one sample that shows the modality of number `kept`, or `ALL`, in a step."""
        rows = self._rows()
        devices = [self.train.device] if self.train.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            run = None if run is None else copy.deepcopy(run)
            network = copy.deepcopy(self.network) if run is None else run.network
            if run is not None:
                run.ranks, run.place, run.positions = ALONE, 0, rows
                run.encode = network.encode  # a compiled one would still be the trained network's
                run.arranged = Arranged(rows, np.full(len(rows), kept))
            network.train()
            optimiser = torch.optim.SGD(network.parameters(), lr=0.0)
            step = Step(network, network, optimiser, ALONE, lambda size: nullcontext(), run)
            loaded = self.train.batches([rows])
            with FlopCounterMode(display=False) as counter, nullcontext() if run is None else run.freezing():
                turns = () if run is None else run.begin_step(0, 1)
                if run is not None and turns:
                    take_turns(step, run, turns, [len(rows)], loaded)
                else:
                    step([len(rows)], loaded)
        return int(counter.get_total_flops()) // len(rows)

    def _rows(self) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        return np.arange(min(ROWS, len(self.train)))
