"""Stage 3: turn scores into a plan per scheduler and seed."""

from pathlib import Path

import numpy as np
from rich import box
from rich.table import Table

from bss.artifacts.plans import seed_path, write_header
from bss.artifacts.scores import read_scores, scores_path
from bss.balance.schedulers import Entry
from bss.config import Config, config_to_tree
from bss.console import make_console
from bss.data.store import Store
from bss.data.tables import write_table
from bss.errors import BssError
from bss.files import digest_file, held, whole_folder, write_csv
from bss.provenance import write_provenance
from bss.training.sequences import count_steps

Pacing = list[dict[str, float]]


def schedule(config: Config, store: Path, scores: Path, plans: Path) -> None:
    """Write ``<scheduler>/plan.json``, ``pacing.csv`` and ``seed=<s>.parquet`` for every scheduler and seed.

    Raises `BssError` if an epoch could not fill a batch.
    """
    data = Store.open(store)
    n, batch_size = len(data.rows("train")), config.train.batch_size
    require_a_batch(store, n, batch_size)
    pacings: dict[str, Pacing] = {}
    warnings: list[str] = []
    with held(plans), whole_folder(plans) as folder:
        for name, entry in config.schedule.schedulers.items():
            (folder / name).mkdir()
            pacings[name], missing = _write_plan(config, name, entry, data, scores, folder)
            if missing:
                warnings.append(f"{name}: the first epoch shows no sample of {missing}.")
        parameters = {"schedule": config_to_tree(config.schedule), "seeds": list(config.seeds)}
        write_provenance(folder, "schedule", {"store": data.digest}, parameters)
    _print(pacings, n, config, warnings)


def require_a_batch(store: Path, n: int, batch_size: int) -> None:
    """Raise `BssError` if the `n` training samples of `store` do not fill a batch."""
    if n < batch_size:
        raise BssError(f"{store}: {n} training samples do not fill a batch of {batch_size}: lower train.batch_size.")


def _write_plan(config: Config, name: str, entry: Entry, data: Store, scores: Path, folder: Path) -> tuple[Pacing, str]:
    """Write one scheduler's plan; return its pacing, and the classes missing from a first epoch, with advice."""
    rows, batch_size = data.rows("train"), config.train.batch_size
    ids, labels = data.id_column(rows), data.labels[rows]
    digests, missing = {}, ""
    if (short := entry.too_few(len(rows), batch_size)) is not None:
        key, value = short
        raise BssError(
            f"params.yaml: schedule.schedulers.{name}.{key}: {value} admits {entry.admitted(len(rows))} samples, "
            f"fewer than train.batch_size ({batch_size}): lower one of them."
        )
    for seed in config.seeds:
        values = None
        if entry.needs_scores:
            path = scores_path(scores, seed, entry.scores)
            values, digests[str(seed)] = read_scores(path, data), digest_file(path)
        basis = entry.basis(len(rows), values, seed, labels)
        if not missing and entry.count(entry.admitted(len(rows)), 0, batch_size) < len(rows):
            left_out = np.setdiff1d(labels, labels[entry.sequence(basis, 0, seed, batch_size)])
            if len(left_out) > 0:
                names = ", ".join(data.classes[label] for label in left_out)
                missing = f"class {names} (seed {seed}); {entry.first_epoch_advice}"
        columns = {"index": rows, "id": ids}
        columns |= entry.plan_columns(basis, values, len(rows), config.train.epochs, batch_size)
        write_table(seed_path(folder, name, seed), columns)
    admitted = entry.admitted(len(rows))
    pacing = pacing_table(entry, admitted, config.train.epochs, batch_size, config.train.drop_last)
    write_csv(folder / name / "pacing.csv", pacing)
    write_header(folder, name, config_to_tree(entry), data, digests, config.train.epochs, batch_size)
    return pacing, missing


def pacing_table(entry: Entry, admitted: int, epochs: int, batch_size: int, drop_last: bool = False) -> Pacing:
    """Return for each epoch the open fraction, the number of open samples and the number of steps."""
    table = []
    for epoch in range(epochs):
        samples = entry.count(admitted, epoch, batch_size)
        steps = count_steps(samples, batch_size, drop_last)
        table.append({"epoch": epoch, "fraction": entry.fraction(epoch), "samples": samples, "steps": steps})
    return table


def _print(pacings: dict[str, Pacing], n: int, config: Config, warnings: list[str]) -> None:
    epochs = config.train.epochs
    title = f"Plans for {n} training samples and {epochs} epochs"
    table = Table(title=title, box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("scheduler")
    for title in ("first epoch shows", "all open from epoch", "steps", "of uniform"):
        table.add_column(title, justify="right")
    uniform = count_steps(n, config.train.batch_size, config.train.drop_last) * epochs
    for name, pacing in pacings.items():
        steps = int(sum(row["steps"] for row in pacing))
        opened = next((f"{row['epoch'] + 1:.0f}" for row in pacing if row["fraction"] == 1), "never")
        table.add_row(name, f"{pacing[0]['samples']:.0f}", opened, str(steps), f"{100 * steps / uniform:.0f} %")
    console = make_console()
    console.print(table)
    for line in warnings:
        console.print(f"Warning: {line}", soft_wrap=True)
