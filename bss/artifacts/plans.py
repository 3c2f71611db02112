"""Plans: for each scheduler its parameters, its pacing and, per seed, the scores and the ranking."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bss.data.store import Store
from bss.data.tables import open_table
from bss.errors import BssError
from bss.files import digest_file, digest_json, read_json, write_json

SCHEMA_VERSION = 1
HEADER = {"schema_version": int, "store_digest": str, "scheduler": dict, "epochs": int, "batch_size": int}
"""Required keys of plan.json."""


@dataclass(frozen=True)
class Plan:
    """What training needs for one scheduler and seed."""

    scheduler: Mapping[str, Any]
    """The scheduler's parameters as plain values."""
    scores: npt.NDArray[np.float64] | None
    """Balance scores of the training samples [n] in the store's order; None for uniform shuffling."""
    digest: str
    """Digest of the scheduler, the data and the seed's file; independent of other seeds and schedulers."""


def seed_path(plans: Path, scheduler: str, seed: int) -> Path:
    """Return the plan's file of one seed."""
    return plans / scheduler / f"seed={seed}.parquet"


def write_header(
    plans: Path,
    name: str,
    scheduler: Mapping[str, Any],
    store: Store,
    scores_digests: Mapping[str, str],
    epochs: int,
    batch_size: int,
) -> None:
    """Write plan.json of scheduler `name`; `scores_digests` has the digest of the scores that each seed ranks by."""
    header = {
        "schema_version": SCHEMA_VERSION,
        "scheduler": scheduler,
        "store_digest": store.digest,
        "scores_digests": scores_digests,
        "epochs": epochs,
        "batch_size": batch_size,
    }
    write_json(plans / name / "plan.json", header)


def read_plan(plans: Path, name: str, seed: int, store: Store, scheduler: Mapping[str, Any]) -> Plan:
    """Read the plan of scheduler `name` and `seed`; it must belong to `store` and `scheduler`.

    Raises `BssError` if it is missing, damaged, or was made for other data or parameters.
    """
    path = plans / name / "plan.json"
    header = read_json(path, "schedule", HEADER)
    if header["schema_version"] != SCHEMA_VERSION:
        raise BssError(f"{path}: schema version {header['schema_version']}, expected {SCHEMA_VERSION}.")
    if header["store_digest"] != store.digest:
        raise BssError(
            f"{path}: this plan is for another dataset (store {header['store_digest'][:12]}, but {store.path} "
            f"is {store.digest[:12]}). Run `bss measure` and `bss schedule` for this store."
        )
    if header["scheduler"] != scheduler:
        raise BssError(f"{path}: planned with other parameters of `{name}` than in params.yaml. Run `bss schedule`.")
    table_path = seed_path(plans, name, seed)
    table = open_table(table_path, "schedule", ("index", "score"))
    if not np.array_equal(table.whole_numbers("index"), store.rows("train")):
        raise BssError(f"{table_path}: does not list the samples of {store.path}. Run `bss schedule` again.")
    # A plan has the score of every sample or, for uniform shuffling, of none.
    scores = table.numbers("score") if table.has_values("score") else None
    decides = {name: header[name] for name in ("scheduler", "store_digest", "epochs", "batch_size")}
    return Plan(header["scheduler"], scores, digest_json({**decides, "seed": digest_file(table_path)}))
