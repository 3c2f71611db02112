"""Probe runs: copies of a network that train on one loss for a while, so that a strategy sees what each gives."""

import copy
from collections.abc import Callable

import torch

from bss.balance.draw import generator
from bss.config.training import TrainConfig
from bss.models.network import MultiModalNetwork
from bss.strategies import Facts
from bss.strategies.weights import Weighted
from bss.training.distributed.ranks import Ranks
from bss.training.learning_rate import learning_rate, set_learning_rate
from bss.training.network_parts import parameter_groups
from bss.training.samples.split_data import SplitData
from bss.training.sequences import split_into_batches
from bss.training.steps import make_optimiser, train_epoch
from bss.training.strategy.head_facts import read_facts
from bss.training.strategy.run import StrategyRun

LOSSES = (Weighted(fused=0.0, unimodal=1.0), Weighted(fused=1.0, unimodal=0.0))
"""Losses of the two probe networks: the unimodal losses, then the fused loss."""

Probes = tuple[MultiModalNetwork, MultiModalNetwork]


def train_probes(run: StrategyRun, config: TrainConfig, data: SplitData, epochs: int) -> Probes:
    """Return two copies of the network of `run` after `epochs` epochs of `LOSSES` on `data`. Collective.

    They begin with no momentum, shuffle uniformly, and have the learning rates of the epochs that come next.
    """
    now = run.context.epoch
    found = []
    for strategy in LOSSES:
        network = copy.deepcopy(run.network)
        own = StrategyRun(strategy, run.context.setting, network, run.ranks, run.seed, targets=run.targets)
        optimiser = make_optimiser(network, config.optimiser, parameter_groups(network))
        for epoch in range(now, now + epochs):
            own.context.epoch = epoch
            order = generator(run.seed, f"strategy probe {now}", epoch).permutation(len(data))
            batches = split_into_batches(order, config.batch_size, config.drop_last)
            train_epoch(
                *(network, optimiser, data, batches),
                ranks=run.ranks,
                seed=run.seed,
                epoch=epoch,
                accumulate=config.accumulate,
                strategy=own,
                clip=config.clip,
                before_step=_setter(own, optimiser, config, min(epoch, config.epochs - 1), len(batches)),
                targets=run.targets,
            )
        found.append(network)
    return found[0], found[1]


def _setter(
    run: StrategyRun, optimiser: torch.optim.Optimizer, config: TrainConfig, epoch: int, steps: int
) -> Callable[[int], None]:
    """Return a function that sets the learning rates of a step of `epoch`."""

    def set_rates(step: int) -> None:
        rate = learning_rate(config.optimiser, config.decay, config.epochs, epoch, step, steps)
        set_learning_rate(optimiser, rate, run.rate)

    return set_rates


def read_probes(probes: Probes, data: SplitData, ranks: Ranks) -> Facts:
    """Return the facts of a split, each loss that of the copy that it trained."""
    heads, fused = (read_facts(network, data, ranks) for network in probes)
    return Facts(heads.loss, fused.fused_loss, heads.accuracy, heads.confidence)
