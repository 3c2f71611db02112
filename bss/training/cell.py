"""One training: a scheduler and a seed, from the plan to a folder of results."""

import copy
import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from bss.balance.draw import generator
from bss.balance.sampler import SequenceSampler
from bss.balance.schedulers import Learned
from bss.config.schema import Config, LearnedEntry
from bss.data.plans import Plan
from bss.data.store import Store
from bss.data.tables import write_table
from bss.errors import BssError
from bss.files import write_csv, write_json
from bss.models.network import MultiModalNetwork, Outputs, build_network, describe_network
from bss.training.evaluation import evaluate, predict
from bss.training.measuring import measure, measure_in_train_mode
from bss.training.reproducible import make_reproducible, resolve_device
from bss.training.split_data import SplitData
from bss.training.steps import learning_rate, make_optimiser, split_into_batches, train_epoch

Row = dict[str, Any]


@dataclass
class Records:
    """What a training leaves behind besides the network."""

    history: list[Row] = field(default_factory=list)
    sequences: list[npt.NDArray[np.int64]] = field(default_factory=list)
    measurements: list[tuple[int, npt.NDArray[np.float64], npt.NDArray[np.float64]]] = field(default_factory=list)
    """(epoch, score, smoothed score), the scores [n] in the order of the training split."""
    measuring_seconds: float = 0.0


def train_cell(
    config: Config,
    store: Store,
    plan: Plan,
    name: str,
    seed: int,
    folder: Path,
    on_epoch: Callable[[Row], None],
) -> dict[str, Any]:
    """Train scheduler `name` with `seed` and write everything but the provenance into `folder`.

    `on_epoch` gets each row of history.csv as soon as it is known. Returns the content of metrics.json.
    Raises `BssError` when the loss stops being finite.
    """
    started = time.perf_counter()
    make_reproducible()
    entry = config.schedule.schedulers[name]
    device = resolve_device(config.resources.device)
    description = describe_network(config.network, store)
    network = build_network(description, seed, device)
    train, val = (SplitData(store, split, network, device) for split in ("train", "val"))
    # The honest protocol reads the test split once, when the training is over.
    published = SplitData(store, "test", network, device) if config.protocol == "published" else None
    sampler = SequenceSampler(
        len(train),
        entry,
        seed,
        scores=plan.scores,
        labels=store.labels[train.rows],
        score=config.measure.score,
        minimum=config.train.batch_size,
    )
    optimiser = make_optimiser(network, config.train.optimiser)
    records = Records()
    best: tuple[float, int, dict[str, torch.Tensor]] = (-1.0, -1, {})
    for epoch in range(config.train.epochs):
        if isinstance(entry, LearnedEntry):
            _measure_if_due(config, entry, network, train, sampler, epoch, seed, records)
        sampler.set_epoch(epoch)
        _record_sequence(sampler, epoch, records)
        row = _train_one_epoch(config, entry, network, optimiser, train, sampler, epoch)
        row |= _evaluate_epoch(network, val, published, sampler, records.sequences[-1], train.rows)
        records.history.append(row)
        on_epoch(row)
        selected_on = row["test/acc"] if published is not None else row["val/acc"]
        if selected_on > best[0]:
            best = (selected_on, epoch, copy.deepcopy(network.state_dict()))
    test = published or SplitData(store, "test", network, device)
    last = evaluate(network, test, "last/test")
    network.load_state_dict(best[2])
    metrics = {
        "protocol": config.protocol,
        "selected_epoch": best[1],
        "steps": sum(row["schedule/steps"] for row in records.history),
        "samples": sum(row["schedule/samples"] for row in records.history),
        **evaluate(network, val, "val"),
        **evaluate(network, test, "test"),
        **{f"last/test_{key}": last[f"last/test/{key}"] for key in ("acc", "f1_macro", "map")},
    }
    _write(config, store, network, test, train.rows, description, metrics, records, folder)
    seconds = {"seconds": time.perf_counter() - started, "measuring_seconds": records.measuring_seconds}
    write_json(folder / "timing.json", seconds)
    return metrics


def _measure_if_due(
    config: Config,
    entry: LearnedEntry,
    network: MultiModalNetwork,
    train: SplitData,
    sampler: SequenceSampler,
    epoch: int,
    seed: int,
    records: Records,
) -> None:
    """Measure every sample again with a pass of its own, where the scheduler asks for one now."""
    if entry.measuring == "online" or epoch == 0 or epoch % entry.every:
        return
    started = time.perf_counter()
    criteria = config.measure.score.criteria
    if entry.mode == "eval":
        columns = measure(network, train, criteria)
    else:
        order = generator(seed, "measuring", epoch).permutation(len(train))
        batches = split_into_batches(order, config.train.batch_size)
        columns = measure_in_train_mode(network, train, criteria, batches)
    sampler.record(np.arange(len(train)), {criterion: columns[criterion] for criterion in criteria})
    records.measuring_seconds += time.perf_counter() - started


def _record_sequence(sampler: SequenceSampler, epoch: int, records: Records) -> None:
    """Keep the epoch's sequence, and the scores behind it where they are new."""
    records.sequences.append(sampler.sequence)
    if not isinstance(sampler.scheduler, Learned) or sampler.scores is None:
        return
    if epoch == 0:
        records.measurements.append((0, sampler.scores.copy(), sampler.scores.copy()))
    elif sampler.measured is not None:
        records.measurements.append((epoch, sampler.measured, sampler.scores.copy()))
        sampler.measured = None


def _train_one_epoch(
    config: Config,
    entry: Any,
    network: MultiModalNetwork,
    optimiser: torch.optim.Optimizer,
    train: SplitData,
    sampler: SequenceSampler,
    epoch: int,
) -> Row:
    rate = learning_rate(config.train.optimiser, config.train.decay, epoch)
    for group in optimiser.param_groups:
        group["lr"] = rate
    batches = split_into_batches(np.fromiter(sampler, dtype=np.int64, count=len(sampler)), config.train.batch_size)
    if isinstance(entry, LearnedEntry) and entry.measuring == "online":

        def observe(index: npt.NDArray[np.int64], outputs: Outputs, loss: torch.Tensor) -> None:
            sampler.observe(index, outputs.logits, loss, features=outputs.features)

        loss = train_epoch(network, optimiser, train, batches, observe)
    else:
        loss = train_epoch(network, optimiser, train, batches)
    if not np.isfinite(loss):
        raise BssError(
            f"the training loss is {loss} in epoch {epoch + 1}: the training has diverged. Lower "
            f"train.optimiser.learning_rate ({rate:g})."
        )
    return {
        "epoch": epoch,
        "learning_rate": rate,
        "train/loss": loss,
        "schedule/fraction": entry.fraction(epoch),
        "schedule/samples": len(sampler.sequence),
        "schedule/steps": len(batches),
    }


def _evaluate_epoch(
    network: MultiModalNetwork,
    val: SplitData,
    test: SplitData | None,
    sampler: SequenceSampler,
    sequence: npt.NDArray[np.int64],
    rows: npt.NDArray[np.int64],
) -> Row:
    row: Row = evaluate(network, val, "val")
    accuracies = [row[f"val/acc_{name}"] for name in network.heads]
    row["balance/gap"] = max(accuracies) - min(accuracies)
    row["balance/score_mean"] = None if sampler.scores is None else float(sampler.scores.mean())
    row["schedule/digest"] = sequence_digest(rows[sequence])
    if test is not None:
        row["test/acc"] = evaluate(network, test, "test")["test/acc"]
    return row


def sequence_digest(rows: npt.NDArray[np.int64]) -> str:
    """Return the sha256 of a sequence of store rows, as little-endian int64."""
    return hashlib.sha256(np.ascontiguousarray(rows, dtype="<i8").tobytes()).hexdigest()


def _write(
    config: Config,
    store: Store,
    network: MultiModalNetwork,
    test: SplitData,
    train_rows: npt.NDArray[np.int64],
    description: dict[str, Any],
    metrics: dict[str, Any],
    records: Records,
    folder: Path,
) -> None:
    write_csv(folder / "history.csv", records.history)
    write_json(folder / "metrics.json", metrics)
    write_json(folder / "network.json", description)
    torch.save(network.state_dict(), folder / "model.pt")
    left = config.tracking.sequences_mib << 20
    kept: list[npt.NDArray[np.int32] | None] = []
    for sequence in records.sequences:
        left -= 4 * len(sequence)
        kept.append(train_rows[sequence].astype(np.int32) if left >= 0 else None)
    digests = [row["schedule/digest"] for row in records.history]
    columns = {"epoch": np.arange(len(kept)), "digest": digests, "sequence": kept}
    write_table(folder / "sequences.parquet", columns)
    if records.measurements:
        epochs, scores, smoothed = zip(*records.measurements, strict=True)
        columns = {
            "epoch": np.repeat(epochs, len(train_rows)),
            "index": np.tile(train_rows, len(epochs)),
            "score": np.concatenate(scores),
            "smoothed": np.concatenate(smoothed),
        }
        write_table(folder / "measurements.parquet", columns)
    logits, unimodal = predict(network, test)
    columns = {"index": test.rows, "id": store.ids[test.rows].tolist(), "label": store.labels[test.rows]}
    columns |= {"predicted": logits.argmax(axis=1), **{f"predicted_{m}": p for m, p in unimodal.items()}}
    write_table(folder / "predictions.parquet", columns)
