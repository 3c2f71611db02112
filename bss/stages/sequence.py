"""Regenerate the sequence of one epoch from scores, seed and epoch, and check it against the recorded digest."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from bss.config import Config
from bss.config.combinations import PLAIN
from bss.console import make_console
from bss.data.store import Store
from bss.data.tables import open_table
from bss.errors import BssError
from bss.training.sequences import sequence_digest
from bss.training.trial_spec import TrialId, read_trial_plan


def check_sequence(
    config: Config, store: Path, plans: Path, runs: Path, name: str, seed: int, epoch: int, strategy: str = PLAIN
) -> npt.NDArray[np.int64]:
    """Return the store rows [samples] shown in `epoch` (from 0), in order, as int64.

    They are regenerated from the plan (BSS-L: from the recorded scores) and compared with the digest that
    training recorded. Raises `BssError` if they differ, or if there is no such run or epoch.
    """
    data = Store.open(store)
    if name not in config.schedule.schedulers:
        raise BssError(f"--scheduler {name}: params.yaml has {', '.join(config.schedule.schedulers)}.")
    if strategy not in (PLAIN, *config.strategies):
        raise BssError(f"--strategy {strategy}: params.yaml has {', '.join(config.strategies)}.")
    trial = TrialId(name, seed, strategy)
    folder = runs / trial.path
    path = folder / "sequences.parquet"
    table = open_table(path, "train", ("epoch", "digest"))
    if not 0 <= epoch < len(table):
        raise BssError(f"--epoch {epoch}: {path} has the epochs 0 to {len(table) - 1}.")
    plan = read_trial_plan(config, data, plans, trial)
    rows = data.rows("train")
    scheduler = config.schedule.schedulers[name]
    scores = plan.scores if scheduler.measures_every is None else _scores_in_force(folder, epoch)
    basis = scheduler.basis(len(rows), scores, seed, data.labels[rows])
    sequence = scheduler.sequence(basis, epoch, seed, config.train.batch_size)
    shown = rows[sequence]
    digest, recorded = sequence_digest(shown), table.texts("digest")[epoch]
    if digest != recorded:
        raise BssError(
            f"{path}: epoch {epoch} was trained with the sequence {recorded[:12]}, but plan and seed give "
            f"{digest[:12]}: the plan does not belong to this run. Rerun `bss train`."
        )
    make_console().print(
        f"{trial} epoch {epoch}: {len(shown)} samples, sha256 {digest}, as recorded.\n"
        f"First: {', '.join(str(i) for i in data.ids[shown[:10]])}",
        highlight=False,
        soft_wrap=True,
    )
    return shown


def _scores_in_force(folder: Path, epoch: int) -> npt.NDArray[np.float64]:
    """Return the smoothed scores from which BSS-L drew `epoch`: the last ones measured at or before it."""
    table = open_table(folder / "measurements.parquet", "train", ("epoch", "smoothed"))
    epochs = table.whole_numbers("epoch")
    if not (epochs <= epoch).any():
        raise table.damaged(f"no scores were measured up to epoch {epoch}")
    return table.numbers("smoothed")[epochs == epochs[epochs <= epoch].max()]
