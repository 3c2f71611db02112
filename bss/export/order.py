"""A plan, or an epoch's sequence, as one Parquet file."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bss.artifacts.plans import seed_path
from bss.config import Config, config_to_tree
from bss.console import make_console
from bss.data.store import Store
from bss.data.tables import read_table
from bss.errors import BssError
from bss.files import digest_file, whole_file
from bss.provenance import provenance
from bss.stages.sequence import check_sequence
from bss.training.sequences import sequence_digest
from bss.training.trial_spec import TrialId, read_trial_plan


def export_plan(config: Config, store: Path, plans: Path, trial: TrialId, to: Path) -> None:
    """Write the plan of scheduler and seed of `trial`: a row per training sample, in the store's order.

    The columns are index (row of the store), id, label, group, and those of the plan, such as score, rank and
    first_epoch. Raises `BssError` if the plan does not belong to the store or the parameters.
    """
    _require_parquet(to)
    if trial.scheduler not in config.schedule.schedulers:
        raise BssError(f"--scheduler {trial.scheduler}: params.yaml has {', '.join(config.schedule.schedulers)}.")
    data = Store.open(store)
    plan = read_trial_plan(config, data, plans, trial)
    path = seed_path(plans, trial.scheduler, trial.seed)
    table = read_table(path, "schedule")
    rows = data.rows("train")
    columns = _samples(data, rows) | {name: table[name] for name in table.column_names if name not in ("index", "id")}
    inputs = {"store": data.digest, "plan": plan.digest, "file": digest_file(path)}
    _write(to, columns, "plan", inputs, {"scheduler": trial.scheduler, "seed": trial.seed, **_schedule(config, trial)})
    make_console().print(f"Wrote {to}: the plan of {trial}, {len(rows)} samples.", highlight=False, soft_wrap=True)


def export_sequence(config: Config, store: Path, plans: Path, runs: Path, trial: TrialId, epoch: int, to: Path) -> None:
    """Write the samples that `trial` was shown in `epoch` (from 0), in order: columns index, id, label and group.

    The sequence is checked like `check_sequence`, and raises the same.
    """
    _require_parquet(to)
    rows = check_sequence(config, store, plans, runs, trial.scheduler, trial.seed, epoch, trial.strategy)
    data = Store.open(store)
    parameters = {**trial.fields, "epoch": epoch, **_schedule(config, trial)}
    inputs = {"store": data.digest, "sequence": sequence_digest(rows)}
    _write(to, _samples(data, rows), "sequence", inputs, parameters)
    make_console().print(f"Wrote {to}.", highlight=False, soft_wrap=True)


def _samples(data: Store, rows: Any) -> dict[str, Any]:
    """Return index, id, label and group of the store's `rows` [k]."""
    groups = data.groups
    return {
        "index": rows,
        "id": data.id_column(rows),
        "label": np.array(data.classes, dtype=object)[data.labels[rows]].tolist(),
        "group": [groups[row] for row in rows],
    }


def _schedule(config: Config, trial: TrialId) -> dict[str, Any]:
    return {"schedule": config_to_tree(config.schedule.schedulers[trial.scheduler])}


def _require_parquet(to: Path) -> None:
    if to.suffix != ".parquet":
        raise BssError(f"--to {to}: must end in .parquet.")


def _write(to: Path, columns: Mapping[str, Any], what: str, inputs: dict[str, str], parameters: dict[str, Any]) -> None:
    """Write the columns atomically, with the provenance in the schema's metadata under the key bss."""
    import pyarrow
    import pyarrow.parquet

    origin = provenance(f"export {what}", inputs, parameters)
    columns = columns | {"group": pyarrow.array(columns["group"], pyarrow.string())}  # type: ignore[operator]
    table = pyarrow.table(dict(columns)).replace_schema_metadata({"bss": json.dumps(origin, sort_keys=True)})
    to.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(to) as file:
        pyarrow.parquet.write_table(table, file, compression="zstd")
