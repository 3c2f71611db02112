"""What happens before the first step of an epoch: scores measured again, the sequence, the strategy's plan."""

import functools
import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from torch import Tensor

from bss.balance.sampler import SequenceSampler
from bss.balance.schedulers import Entry
from bss.config.schema import Config
from bss.config.training import TrainConfig
from bss.models.network import MultiModalNetwork
from bss.strategies import Facts, Seen, Split
from bss.strategies.hooks import PROBED
from bss.training.distributed.ranks import Ranks
from bss.training.measuring import batches_in_train_mode, batches_of_all, measure, measure_in_train_mode
from bss.training.resume.state import Records, TrainingState
from bss.training.samples.split_data import SplitData
from bss.training.strategy.head_facts import drawn_batch, drawn_share, read_columns, read_facts
from bss.training.strategy.probes import LOSSES, Probes, read_probes, train_probes
from bss.training.strategy.run import StrategyRun

PASSES = 3
"""What a forward and a backward pass cost in forward passes."""


def measure_if_due(
    config: Config,
    entry: Entry,
    network: MultiModalNetwork,
    train: SplitData,
    sampler: SequenceSampler,
    epoch: int,
    seed: int,
    records: Records,
    ranks: Ranks,
) -> None:
    """Re-measure every sample in a separate pass, if the scheduler requests one now.

    Each rank records what it measured; the sampler exchanges it.
    """
    if entry.measures_every is None or entry.measures_by == "online" or epoch == 0 or epoch % entry.measures_every:
        return
    started = time.perf_counter()
    criteria, precision = config.measure.score.criteria, config.measure.precision
    if entry.measures_by == "eval":
        batches = ranks.deal(batches_of_all(train))
        columns = measure(network, train, criteria, batches, precision)
    else:
        whole = batches_in_train_mode(config, len(train), seed, epoch)
        columns = measure_in_train_mode(network, train, criteria, whole, seed, epoch, ranks, precision)
        batches = [ranks.share(batch) for batch in whole]
    for index in batches:
        sampler.record(index, {criterion: columns[criterion][index] for criterion in criteria})
    records.measuring_seconds += time.perf_counter() - started


def _plan_strategy(
    config: TrainConfig,
    state: TrainingState,
    run: StrategyRun,
    sequence: npt.NDArray[np.int64],
    splits: dict[str, SplitData],
    epoch: int,
) -> None:
    """Let the strategy plan `epoch`, and count the samples of the passes that it requests."""
    run.read = 0

    @functools.cache
    def probes() -> Probes:
        epochs = run.strategy.probe_length
        run.read += PASSES * len(LOSSES) * epochs * len(splits["train"])
        return train_probes(run, config, splits["train"], epochs)

    def facts(split: str) -> Facts:
        if split.startswith(PROBED):
            data = splits[split.removeprefix(PROBED)]
            run.read += len(LOSSES) * len(data)
            return read_probes(probes(), data, state.ranks)
        network, data = _of(state, splits, split)
        averaging = run.strategy.averaging
        chosen = drawn_share(len(data), averaging or 1.0, run.seed, epoch)
        run.read += len(chosen)
        return read_facts(network, data, state.ranks, run.strategy.clustered, averaging > 0, chosen)

    def batch(split: Split) -> Callable[[], Seen]:
        see, size = drawn_batch(run.network, splits[split], run.context.setting.batch_size, (run.seed, split, epoch))
        run.read += PASSES * size
        return see

    def measured(measure: Callable[[Seen], Tensor]) -> npt.NDArray[np.float64]:
        run.read += len(splits["train"])
        return read_columns(run.network, splits["train"], measure, state.ranks)

    run.begin_epoch(epoch, facts)
    run.adapt(batch)
    run.forget(state.optimiser)
    run.arrange(sequence, measured)


def plan_epoch(config: TrainConfig, state: TrainingState, splits: dict[str, SplitData], epoch: int) -> None:
    """Let the sampler and the strategy plan `epoch`; keep its sequence, and the scores behind it if they are new."""
    sampler, records, ranks = state.sampler, state.records, state.ranks
    sampler.set_epoch(epoch)
    sampler.sequence = ranks.agree(sampler.sequence, state.device)
    records.sequences.append(sampler.sequence)
    if state.strategy is not None:
        _plan_strategy(config, state, state.strategy, sampler.sequence, splits, epoch)
        hidden = state.strategy.strategy.hides(state.strategy.context)
        if hidden is not None:
            records.hidden.append((hidden.positions, hidden.modality, hidden.probability))
    if sampler.scheduler.measures_every is None or sampler.scores is None:
        return
    if epoch == 0:
        records.measurements.append((0, sampler.scores.copy(), sampler.scores.copy()))
    elif sampler.measured is not None:
        records.measurements.append((epoch, sampler.measured, sampler.scores.copy()))
        sampler.measured = None


def _of(state: TrainingState, splits: dict[str, SplitData], split: str) -> tuple[MultiModalNetwork, SplitData]:
    """Return the network and the split whose facts are requested."""
    if split != "teachers":
        return state.network, splits[split]
    assert state.strategy is not None
    assert state.strategy.teachers is not None
    return state.strategy.teachers, splits["train"]
