"""Stage 2: measure the balance score of every training sample, once per seed."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from bss.artifacts.scores import FILES, Columns, measurement_titles, scores_table
from bss.config import Config, config_to_tree
from bss.console import make_console
from bss.data.store import Store
from bss.data.tables import write_table
from bss.deciding import DECIDING, pick
from bss.errors import BssError
from bss.files import held, whole_folder, write_json
from bss.launch.workers import emit, jobs_at_a_time, run_jobs
from bss.models.huggingface.agreement import resized_otherwise
from bss.models.pretrained import digest_weights
from bss.provenance import write_provenance
from bss.report.statistics import auc
from bss.stages.progress import MeasuringProgress
from bss.training.initial_network import initial_network
from bss.training.keep_freed_memory import keep_freed_memory
from bss.training.measuring import batches_in_train_mode, measure_in_train_mode
from bss.training.measuring import measure as measure_split
from bss.training.nondeterminism import nondeterminism_named
from bss.training.reproducible import make_reproducible, resolve_device
from bss.training.samples.frozen_features import open_features, write_features
from bss.training.samples.split_data import SplitData
from bss.training.uniform import train_uniformly

Summary = dict[str, float | None]


def measure(config: Config, store: Path, scores: Path) -> None:
    """Write ``seed=<s>/scores.parquet`` (after the warm-up), ``initial.parquet`` and ``summary.json``.

    The warm-up trains a separate network with uniform shuffling; training starts from scratch. The initial
    scores are those of the freshly initialised network, in measure.initial_mode.
    """
    data_store = Store.open(store)
    write_features(config, store)
    console = make_console()
    for sentence in resized_otherwise(config):
        console.print(f"Note: {sentence}", highlight=False, markup=False, soft_wrap=True)
    summaries: dict[int, dict[str, Summary]] = {}
    with held(scores), whole_folder(scores) as folder:
        jobs = [(config, store, folder, seed) for seed in config.seeds]
        at_a_time = min(jobs_at_a_time(config, 1), len(jobs))
        console.print(
            f"measure: {len(jobs)} seeds, {at_a_time} concurrent, {config.measure.warmup_epochs} warm-up epochs"
        )
        with MeasuringProgress(len(jobs), config.measure.warmup_epochs, console) as progress:

            def on_done(job: tuple[Any, ...], made: dict[str, Summary]) -> None:
                summaries[job[-1]] = made
                mean = made["warm-up"]["score_mean"]
                assert mean is not None
                progress.done(job[-1], mean)

            run_jobs(_measure_into, jobs, at_a_time, lambda event: progress.epoch(*event), on_done)
        parameters = pick(config_to_tree(config), DECIDING["measure"].parameters)
        parameters |= parameters.pop("train")
        inputs = {"store": data_store.digest, **digest_weights(config.network)}
        in_order = {seed: summaries[seed] for seed in config.seeds}
        mean = write_summary(folder, in_order, inputs, parameters)
    titles = measurement_titles(config.measure.warmup_epochs, config.measure.initial_mode)
    _print(console, mean, len(data_store.classes), titles)


def write_summary(
    folder: Path, summaries: dict[int, dict[str, Summary]], inputs: dict[str, str], parameters: dict[str, Any]
) -> dict[str, Summary]:
    """Write summary.json (per seed and mean over seeds) and the provenance to `folder`; return the mean."""
    mean = {timing: _mean([summary[timing] for summary in summaries.values()]) for timing in FILES}
    write_json(
        folder / "summary.json", {f"seed={seed}": summary for seed, summary in summaries.items()} | {"mean": mean}
    )
    write_provenance(folder, "measure", inputs, parameters)
    return mean


def _measure_into(config: Config, store: Path, folder: Path, seed: int) -> dict[str, Summary]:
    """Measure one seed in a worker process, write its tables to `folder` and return its summaries."""
    make_reproducible(config.resources.deterministic)
    keep_freed_memory()
    data = Store.open(store)
    with nondeterminism_named(config, data):
        timings = measure_seed(config, data, seed)
    (folder / f"seed={seed}").mkdir()
    for timing, columns in timings.items():
        write_table(folder / f"seed={seed}" / FILES[timing], scores_table(data, columns))
    return {timing: summarise(data, columns) for timing, columns in timings.items()}


def measure_seed(config: Config, store: Store, seed: int) -> dict[str, Columns]:
    """Return the measured columns [n] plus ``score``, for the initial network and after the warm-up."""
    device = resolve_device(config.resources.device)
    network = initial_network(config, store, seed, device)
    data = SplitData(store, "train", network, device, open_features(config, store))
    criteria, precision = config.measure.score.criteria, config.measure.precision
    if config.measure.initial_mode == "eval":
        timings = {"initial": measure_split(network, data, criteria, precision=precision)}
    else:
        batches = batches_in_train_mode(config, len(data), seed, 0)
        initial = copy.deepcopy(network)
        timings = {"initial": measure_in_train_mode(initial, data, criteria, batches, seed, 0, precision=precision)}
    epochs = config.measure.warmup_epochs
    train_uniformly(config, network, data, seed, epochs, lambda epoch: emit(seed, epoch))
    timings["warm-up"] = measure_split(network, data, criteria, precision=precision)
    for columns in timings.values():
        try:
            columns["score"] = config.measure.score(columns)
        except ValueError as error:
            raise BssError(
                f"seed {seed}: {error}. Lower train.optimiser.learning_rate, which the warm-up uses."
            ) from error
    return timings


def summarise(store: Store, columns: Columns) -> Summary:
    """Return the means of the columns and, given ground truth, the AUC per kind of bad pair."""
    means = ("score", "prediction_similarity", "training_loss", "confidence")
    summary: Summary = {f"{name}_mean": float(columns[name].mean()) for name in means if name in columns}
    truth = store.truth()
    if truth is not None:
        kinds = np.array([truth[i] for i in store.ids[store.rows("train")].tolist()])
        for kind in sorted(set(kinds) - {"clean"}):
            summary[f"auc_{kind}"] = auc(columns["score"][kinds == "clean"], columns["score"][kinds == kind])
    return summary


def _mean(summaries: list[Summary]) -> Summary:
    return {
        name: None if any(s[name] is None for s in summaries) else float(np.mean([s[name] for s in summaries]))
        for name in summaries[0]
    }


def _print(console: Console, mean: dict[str, Summary], classes: int, titles: dict[str, str]) -> None:
    table = Table(title="Training samples, means over samples and seeds", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("measured")
    names = list(mean["warm-up"])
    for name in names:
        table.add_column(name.removesuffix("_mean").replace("_", " "), justify="right")
    for title, timing in titles.items():
        table.add_row(title, *(_number(mean[timing][name]) for name in names))
    console.print(table)
    confidence = mean["warm-up"]["confidence_mean"]
    if confidence is not None and confidence < 1.5 / classes:
        console.print(
            f"Warning: {list(titles)[-1]}: the mean confidence is {confidence:.3f}, close to 1/{classes} "
            "classes. Nearly uniform softmaxes look alike, so prediction similarity is uninformative: raise "
            "measure.warmup_epochs or the learning rate."
        )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
