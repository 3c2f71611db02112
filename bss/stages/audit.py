"""The audit: which pairs are wrong, how, and which modality is to blame."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bss.audit.duplicates import Duplicates, Stored, find_duplicates
from bss.audit.facts import emptiness, facts_of
from bss.audit.folds import Ints, assign_folds, connected, independent, judged_by
from bss.audit.off import remove_note
from bss.audit.predictions import Part, average, make_part, predict_part, remove_others
from bss.audit.results import write_results
from bss.audit.verdicts import judge
from bss.balance.one_thread import one_thread
from bss.config import Config
from bss.console import make_console
from bss.data.store import Store
from bss.errors import BssError
from bss.files import held
from bss.launch.workers import jobs_at_a_time, run_jobs
from bss.stages.progress import AuditProgress

PREDICTIONS = "predictions"
"""Folder below that of the audit with the predictions of each network."""
BLOCK_BYTES = 64 << 20
"""Stored samples in memory at once, unless one is larger."""


def audit(config: Config, store: Path, folder: Path) -> None:
    """Write ``audit.csv``, ``audit.parquet`` (the same rows, the most suspicious first) and ``audit.json``.

    Every network's predictions are kept below `folder`: an interrupted audit resumes, and a new seed trains only what
    it needs. Raises `BssError` if train and val cannot be divided, or the network has no unimodal heads to ask.
    """
    data = Store.open(store)
    if config.network.loss_weights.unimodal == 0:
        raise BssError(
            "params.yaml: network.loss_weights.unimodal: is 0, so the unimodal heads are untrained. The audit needs "
            "them; set it above 0."
        )
    console = make_console()
    rows = np.flatnonzero(np.isin(data.splits, config.audit.splits))
    trained = data.splits != "test"
    with held(folder):
        folder.mkdir(parents=True, exist_ok=True)
        duplicates = duplicates_of(config, data)
        parts = networks_of(config, data, duplicates, folder)
        remove_others(folder / PREDICTIONS, parts)
        _predict(config, store, parts, console)
        logits = average(parts, list(data.modalities), rows, len(data.classes))
        facts = {name: facts_of(m, _blocks(data, name, rows)) for name, m in data.modalities.items()}
        empty = {name: emptiness(values) for name, values in facts.items()}
        verdicts = judge(logits, data.labels[rows], empty, [trained[rows], ~trained[rows]])
        write_results(config, data, rows, verdicts, facts, duplicates, folder, console)
        remove_note(folder)


def networks_of(config: Config, data: Store, duplicates: Duplicates, folder: Path) -> list[Part]:
    """Return the networks of an audit in `folder`, with what each trains on and predicts.

    Raises `BssError` if train and val cannot be divided.
    """
    labels, trained = data.labels, data.splits != "test"
    components = independent(data.groups, duplicates.partner, trained, config.audit.folds)
    copies = connected([None] * len(data), duplicates.partner)
    audited = np.isin(data.splits, config.audit.splits)
    parts = []
    for seed in config.audit.seeds:
        fold = assign_folds(labels, components, trained, config.audit.folds, seed)
        for number in range(config.audit.folds):
            trains, predicts = judged_by(fold, labels, trained, copies, number)
            predicts = predicts[audited[predicts]]
            _require_a_batch(config, len(trains))
            if len(predicts):
                parts.append(make_part(config, data, seed, number, trains, predicts, folder / PREDICTIONS))
    return parts


def _require_a_batch(config: Config, samples: int) -> None:
    if samples < config.train.batch_size:
        raise BssError(
            f"audit: {samples} samples outside of a fold do not fill a batch of {config.train.batch_size}: "
            "lower train.batch_size."
        )


def duplicates_of(config: Config, data: Store) -> Duplicates:
    """Return the duplicates among all samples of the store."""
    every = np.arange(len(data))
    places = list(zip(data.splits.tolist(), data.groups, strict=True))
    with one_thread():  # the number of threads would change the last bits
        return find_duplicates(lambda name: _blocks(data, name, every), data.modalities, places, config.audit.near)


def _blocks(data: Store, name: str, rows: Ints) -> Iterator[Stored]:
    """Yield the stored samples of a modality at `rows`, in blocks of bounded size."""
    each = max(1, data.bytes_of(name, rows) // max(1, len(rows)))
    size = max(1, BLOCK_BYTES // each)
    for start in range(0, len(rows), size):
        yield data.read(name, rows[start : start + size])


def _predict(config: Config, store: Path, parts: list[Part], console: Any) -> None:
    """Train the networks whose predictions are missing, and keep the others."""
    missing = [part for part in parts if not part.finished]
    at_a_time = max(1, min(jobs_at_a_time(config, 1), len(missing)))
    console.print(
        f"audit: {len(parts)} networks, {len(parts) - len(missing)} kept, {at_a_time} concurrent, "
        f"{config.audit.epochs} epochs"
    )
    with AuditProgress(len(missing), config.audit.epochs, console) as progress:

        def on_done(job: tuple[Any, ...], accuracy: float) -> None:
            progress.done(job[-1].seed, job[-1].fold, accuracy)

        jobs = [(config, store, part) for part in missing]
        run_jobs(predict_part, jobs, at_a_time, lambda event: progress.epoch(*event), on_done)
