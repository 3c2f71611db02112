"""One trial: a scheduler and a seed, from the plan to a folder of results."""

import copy
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from bss.artifacts.plans import Plan
from bss.balance.sampler import SequenceSampler
from bss.balance.schedulers import Entry
from bss.config.schema import Config
from bss.data.store import Store
from bss.errors import BssError
from bss.files import write_json
from bss.metrics.base import BalanceMetric, TrainingMetric
from bss.metrics.find import values_of
from bss.metrics.inputs import Balance, Trained
from bss.models.network import Outputs, describe_network
from bss.signals import finishing_steps
from bss.strategies import Strategy
from bss.training.averaged import Averaged
from bss.training.begin_epoch import measure_if_due, plan_epoch
from bss.training.distributed.ranks import ALONE, Ranks
from bss.training.evaluation import evaluate_and_read, task_of
from bss.training.final_imbalance import contributions_table
from bss.training.final_metrics import final_metrics, seconds_spent
from bss.training.flops import EpochFlops
from bss.training.imbalance import imbalance_row, is_due, watched_samples
from bss.training.initial_network import compiled, initial_network
from bss.training.keep_freed_memory import keep_freed_memory
from bss.training.learning_rate import learning_rate, set_learning_rate
from bss.training.network_parts import parameter_groups
from bss.training.predicting import NONE, Read
from bss.training.reproducible import make_reproducible, resolve_device
from bss.training.resume.checkpoints import Checkpoints
from bss.training.resume.state import Best, Position, Row, TrainingState
from bss.training.samples.frozen_features import open_features
from bss.training.samples.split_data import SplitData
from bss.training.sequences import sequence_digest, split_into_batches
from bss.training.step_graph import StepGraph, step_graph
from bss.training.steps import make_optimiser, settle_order_of_sums, train_epoch
from bss.training.strategy.start import Teachers, config_for, start_strategy
from bss.training.targets import Targets, targets_for
from bss.training.trial_files import predictions_table, write_trial


def train_trial(
    config: Config,
    store: Store,
    plan: Plan,
    name: str,
    seed: int,
    folder: Path | None,
    on_epoch: Callable[[Row], None],
    ranks: Ranks = ALONE,
    checkpoints: Checkpoints | None = None,
    strategy: Strategy | None = None,
    teachers: Teachers | None = None,
) -> tuple[dict[str, Any], list[tuple[int, int]]]:
    """Train scheduler `name` with `seed` and `strategy` (None: none); write all but the provenance into `folder`.

    `teachers` are those of a strategy that needs them; what they cost is counted too.
    `on_epoch` gets each row of history.csv as soon as it is complete. Returns the content of metrics.json and
    `Records.ranks`. Collective: all ranks must call it and get the same value; those with `folder` None write nothing.
    With `checkpoints` the trial resumes from the last one, made by any number of ranks, and
    ends as if it had never stopped: bit for bit if that number is the same, otherwise up to the order of
    floating-point sums. Raises `BssError` if the loss becomes non-finite, KeyboardInterrupt if it is stopped,
    after saving a checkpoint.
    """
    started = time.perf_counter()
    make_reproducible(config.resources.deterministic)
    keep_freed_memory()
    entry = config.schedule.schedulers[name]
    config = config_for(strategy, config)
    device = resolve_device(config.resources.device)
    network = initial_network(config, store, seed, device)
    features = open_features(config, store)
    train = SplitData(store, "train", network, device, features)
    measured = train.unaugmented() if entry.measures_by == "eval" else train
    # The honest protocol evaluates the test split once, after training.
    seen = {
        split: SplitData(store, split, network, device, features)
        for split in dict.fromkeys(("val", _selecting(config)))
        if len(store.rows(split))
    }
    sampler = SequenceSampler(
        len(train),
        entry,
        seed,
        scores=plan.scores,
        labels=store.labels[train.rows],
        score=config.measure.score,
        minimum=config.train.batch_size,
        rank=ranks.rank,
        ranks=ranks.count,
    )
    targets = targets_for(config.train, store, device)
    run = start_strategy(strategy, config, store, network, ranks, seed, teachers, targets)
    wrapped = ranks.wrap(network, averaging=run is None)
    settle_order_of_sums(network, wrapped, train, ranks)
    if config.train.compile is True:
        wrapped = compiled(wrapped, device)
    if config.train.compile is True and run is not None:
        run.encode = compiled(network.encode, device)
    graph = step_graph(config, device)
    flops = EpochFlops(network, train)
    optimiser = make_optimiser(network, config.train.optimiser, None if run is None else parameter_groups(network))
    average = None if config.train.ema is None else Averaged(network, config.train.ema)
    state = TrainingState(network, optimiser, sampler, ranks, checkpoints, started, run, average)
    state.load()
    records = state.records
    for row in records.history:
        on_epoch(row)
    # Ranks end together, after a step: a single interrupted rank would leave the others waiting for it.
    with nullcontext() if ranks.count == 1 else finishing_steps() as asked_between:
        for epoch in range(state.position.epoch, config.train.epochs):
            if _stops(config, records.history):
                break
            if state.position.step == 0:
                measure_if_due(config, entry, network, measured, sampler, epoch, seed, records, ranks)
                plan_epoch(config.train, state, {"train": train, **seen}, epoch)
            with state.saved_when_interrupted():
                given = (config, entry, state, wrapped, graph, train, flops, targets, seed, asked_between)
                trained = _train_one_epoch(*given)
                row = {
                    "epoch": epoch,
                    **_epoch_metrics(config, state, seen, train, trained, seed),
                    "schedule/digest": sequence_digest(train.rows[records.sequences[-1]]),
                }
            on_epoch(row)
            _end_epoch(state, row, row[f"{_selecting(config)}/acc"])
    test = seen.get("test") or SplitData(store, "test", network, device, features)
    metrics, contributions = final_metrics(config, state, seen, test, train, teachers)
    tables = {"predictions": predictions_table(network, store, test, ranks)}
    if contributions:
        tables["contributions"] = contributions_table(store, train, contributions)
    if folder is not None:
        description = describe_network(config.network, store)
        write_trial(config, network, store, train.rows, description, metrics, records, tables, folder)
        write_json(folder / "timing.json", seconds_spent(state, teachers))
    return metrics, records.ranks


def _selecting(config: Config) -> str:
    """Return the split whose accuracy selects the epoch."""
    return "test" if config.protocol == "published" else "val"


def _stops(config: Config, history: list[Row]) -> bool:
    """Return whether the trial ends after the epochs in `history`; the same on all ranks, as their rows are."""
    early = config.train.early_stopping
    return early is not None and early.stops(row["val/acc"] for row in history)


def _end_epoch(state: TrainingState, row: Row, accuracy: float) -> None:
    """Record the `row` of the epoch, and keep the network if its `accuracy` is the best so far."""
    epoch = state.position.epoch
    state.records.history.append(row)
    if accuracy > state.best.accuracy:
        state.best = Best(accuracy, epoch, copy.deepcopy(state.evaluated.state_dict()))
    state.position = Position(epoch + 1)


def _train_one_epoch(
    config: Config,
    entry: Entry,
    state: TrainingState,
    wrapped: torch.nn.Module,
    graph: StepGraph | None,
    train: SplitData,
    flops: EpochFlops,
    targets: Targets,
    seed: int,
    asked_between: Callable[[], bool] | None,
) -> Trained:
    """Train the rest of the epoch; return what its metrics are computed from.

    `asked_between` returns whether a stop was requested, before this epoch too; None: this function checks itself.
    """
    epoch, sampler = state.position.epoch, state.sampler
    shown = sampler.sequence if state.strategy is None else state.strategy.shown(sampler.sequence)
    batches = split_into_batches(shown, config.train.batch_size, config.train.drop_last)

    def rate(step: int) -> float:
        train = config.train
        return learning_rate(train.optimiser, train.decay, train.epochs, epoch, step, len(batches))

    def set_rates(step: int) -> None:
        own = (lambda group: 1.0) if state.strategy is None else state.strategy.rate
        set_learning_rate(state.optimiser, rate(step), own)

    observe = None
    if entry.measures_by == "online":

        def observe(index: npt.NDArray[np.int64], outputs: Outputs, loss: torch.Tensor) -> None:
            sampler.observe(index, outputs.logits, loss, features=outputs.features)

    with finishing_steps() if asked_between is None else nullcontext(asked_between) as stop_asked:
        loss = train_epoch(
            state.network,
            state.optimiser,
            train,
            batches,
            observe,
            wrapped,
            state.ranks,
            (state.position.step, state.position.loss),
            lambda step, total: state.after_step(step, total, stop_asked(), last=step == len(batches)),
            seed=seed,
            epoch=epoch,
            accumulate=config.train.accumulate,
            graph=graph,
            strategy=state.strategy,
            clip=config.train.clip,
            before_step=set_rates,
            targets=targets,
        )
    if not np.isfinite(loss):
        raise BssError(
            f"the training loss is {loss} in epoch {epoch + 1}: the trial has diverged. Lower "
            f"train.optimiser.learning_rate ({rate(len(batches) - 1):g})."
        )
    samples = sum(len(batch) for batch in batches)
    return Trained(
        learning_rate=rate(len(batches) - 1),
        loss=loss,
        fraction=entry.fraction(epoch),
        samples=samples,
        steps=len(batches),
        flops=flops(state.strategy, entry, epoch, samples),
        hidden=len(state.records.hidden[-1][0]) / len(train) if state.records.hidden else None,
    )


def _epoch_metrics(
    config: Config,
    state: TrainingState,
    seen: dict[str, SplitData],
    train: SplitData,
    trained: Trained,
    seed: int,
) -> Row:
    """Return the metrics of an epoch: of its training, of the splits `seen`, and of balance and imbalance on a split.

    That is the first of `seen`.
    """
    network, ranks, epoch = state.evaluated, state.ranks, state.position.epoch
    history, task, watched = state.records.history, task_of(network), next(iter(seen))
    evaluated: Row = {}
    # Whether early stopping makes this epoch the last one is known only after evaluation: what is due then is read too.
    due = is_due(config.evaluation, epoch, config.train.epochs if config.train.early_stopping is None else epoch + 1)
    read: dict[str, Read] = {}
    for split, data in seen.items():
        chosen = watched_samples(data, train) if due and split == watched else NONE
        found, read[split] = evaluate_and_read(network, data, split, chosen, ranks, config.evaluation, "epoch")
        evaluated |= found
    balance = Balance({name: evaluated[f"{watched}/acc_{name}"] for name in network.heads}, state.sampler.scores)
    of_training, of_balance = values_of(TrainingMetric, trained, task), values_of(BalanceMetric, balance, task)
    row: Row = of_training | evaluated | of_balance
    epochs = epoch + 1 if _stops(config, [*history, row]) else config.train.epochs
    if is_due(config.evaluation, epoch, epochs):
        row |= imbalance_row(network, read[watched], train, history, seed, epoch, ranks)
    return row
