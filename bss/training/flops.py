"""Floating-point operations of an epoch, counted by rehearsing its steps on a few samples."""

import copy
from collections.abc import Callable, Hashable
from contextlib import nullcontext
from functools import partial

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from bss.balance.schedulers import Entry
from bss.models.heads import Head
from bss.models.network import MultiModalNetwork
from bss.strategies.base import Strategy
from bss.strategies.hooks import ALL, Arranged
from bss.training.distributed.ranks import ALONE
from bss.training.samples.split_data import SplitData
from bss.training.step import Step
from bss.training.strategy.run import StrategyRun
from bss.training.strategy.turns import take_turns

ROWS = 4
"""Samples of a rehearsed step. What a step does is linear in them, but for comparisons of all pairs of a batch."""


class EpochFlops:
    """Counts the operations of matrix products and convolutions, forward and backward, as torch's counter does.

    A rehearsal changes nothing: it runs on copies, and restores the generators. Steps that are the same in many epochs
    are rehearsed in the first of them: plain ones, and those of a strategy as long as its plan and `phase` stay. Where
    the host draws what a step does (`Strategy.outcomes`), the expectation is counted, which no seed decides.
    """

    def __init__(self, network: MultiModalNetwork, train: SplitData) -> None:
        self.network, self.train = network, train
        self._steps: dict[Hashable, int] = {}
        self._reads: dict[Hashable, int] = {}

    def __call__(self, run: StrategyRun | None, entry: Entry, epoch: int, samples: int) -> int:
        """Return the operations of `epoch`, whose steps showed `samples`, and of the passes before it."""
        read = 0 if run is None else run.read
        every = entry.measures_every
        if every is not None and entry.measures_by != "online" and epoch and epoch % every == 0:
            read += len(self.train)
        heads = tuple(head.used for head in self.network.heads.values() if isinstance(head, Head))  # which may grow
        total = read * self._known(self._reads, heads, self._forward) if read else 0
        arranged = None if run is None else run.arranged
        kept = np.full(samples, ALL) if arranged is None else arranged.kept[:samples]
        for number, count in zip(*(found.tolist() for found in np.unique(kept, return_counts=True)), strict=True):
            decides = (number, heads, None if run is None else _phase(run))
            total += count * self._known(self._steps, decides, partial(self._step, run, number))
        return total

    def _known(self, known: dict[Hashable, int], decides: Hashable, count: Callable[[], int]) -> int:
        if decides not in known:
            known[decides] = count()
        return known[decides]

    def _forward(self) -> int:
        """Return the operations of one sample in eval mode."""
        self.network.eval()
        ((inputs, _),) = self.train.batches([self._rows()])
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            self.network(inputs)
        return int(counter.get_total_flops()) // len(self._rows())

    def _step(self, run: StrategyRun | None, kept: int) -> int:
        """Return the operations of one sample that shows the modality of number `kept`, or `ALL`, in a step."""
        outcomes = [(1.0, None)] if run is None else run.strategy.outcomes()
        return round(sum(share * self._rehearse(run, kept, strategy) for share, strategy in outcomes if share))

    def _rehearse(self, run: StrategyRun | None, kept: int, strategy: Strategy | None) -> int:
        """Return the same, the strategy of `run` having turned out to be `strategy`."""
        rows = self._rows()
        devices = [self.train.device] if self.train.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            run = None if run is None else copy.deepcopy(run)
            network = copy.deepcopy(self.network) if run is None else run.network
            if run is not None and strategy is not None:
                run.strategy = strategy
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


def _phase(run: StrategyRun) -> Hashable:
    """Return what determines a step's operations in this epoch, besides what samples show and the heads in use."""
    plan, weights = run.context.plan, run.context.weights
    return plan.frozen, weights.fused is None, tuple(weights.unimodal), run.strategy.phase(run.context)
