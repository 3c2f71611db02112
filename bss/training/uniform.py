"""Plain training with uniform shuffling, for networks that only measure or predict.

`bss.training.trial` trains the networks that are compared.
"""

from collections.abc import Callable

from bss.balance.schedulers import Uniform
from bss.config import Config
from bss.models.network import MultiModalNetwork
from bss.training.initial_network import compiled
from bss.training.samples.split_data import SplitData
from bss.training.sequences import split_into_batches
from bss.training.step_graph import step_graph
from bss.training.steps import make_optimiser, train_epoch


def train_uniformly(
    config: Config,
    network: MultiModalNetwork,
    data: SplitData,
    seed: int,
    epochs: int,
    on_epoch: Callable[[int], None],
) -> None:
    """Train `network` for `epochs` epochs by the section `train`, without decay; `on_epoch` gets each, from 0."""
    optimiser = make_optimiser(network, config.train.optimiser)
    call = compiled(network, data.device) if config.train.compile is True else network
    graph = step_graph(config, data.device)
    for epoch in range(epochs):
        sequence = Uniform().sequence(len(data), epoch, seed)
        batches = split_into_batches(sequence, config.train.batch_size, config.train.drop_last)
        train_epoch(
            network,
            optimiser,
            data,
            batches,
            wrapped=call,
            seed=seed,
            epoch=epoch,
            accumulate=config.train.accumulate,
            graph=graph,
            clip=config.train.clip,
        )
        on_epoch(epoch)
