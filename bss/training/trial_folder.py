"""The folder of one trial: making it atomically, and whether it is finished."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from bss.artifacts.history import read_history
from bss.artifacts.plans import Plan
from bss.config import Config
from bss.config.combinations import strategy_of
from bss.data.preprocessing import PREPROCESSING
from bss.data.store import Store
from bss.errors import BssError
from bss.files import read_json, whole_folder
from bss.models.pretrained import digest_weights
from bss.provenance import write_provenance
from bss.training.distributed.ranks import ALONE, Ranks
from bss.training.nondeterminism import nondeterminism_named
from bss.training.reproducible import describe_device, resolve_device
from bss.training.resume.checkpoints import Checkpoints, checkpoints_folder
from bss.training.resume.state import Row
from bss.training.strategy.teachers import teachers_for
from bss.training.trial import train_trial
from bss.training.trial_spec import Trial, require_same_plan


def is_finished(folder: Path, key: str) -> bool:
    """Return whether `folder` holds the trial whose `Trial.key` is `key`; a damaged one is trained again."""
    try:
        made = read_json(folder / "provenance.json", "train", {"inputs": dict})
        read_json(folder / "metrics.json", "train", {"steps": int})
        read_json(folder / "timing.json", "train", {"seconds": float})
        read_history(folder / "history.csv")
    except BssError:
        return False
    # "cell" is the old word for trial; it stays, so that finished trials are still recognised.
    return bool(made["inputs"].get("cell") == key) and (folder / "model.pt").is_file()


def train_into(
    trial: Trial, plan: Plan, config: Config, data: Store, on_epoch: Callable[[Row], None], ranks: Ranks = ALONE
) -> dict[str, Any]:
    """Run one trial by its plan and make its folder; return the content of metrics.json.

    Collective. Only rank 0 writes and calls `on_epoch`. An interrupted trial resumes from its last checkpoint, even
    with a different number of ranks; `on_epoch` then gets the earlier rows too. Raises `BssError` if `plan` is not
    the plan of `trial`.
    """
    require_same_plan(trial, plan)
    path, key = trial.folder, trial.key
    scheduler, seed, strategy = trial.id.scheduler, trial.id.seed, strategy_of(config, trial.id.strategy)
    teachers = teachers_for(trial, config, data, ranks)
    if ranks.rank > 0:
        here = Checkpoints(checkpoints_folder(path), key, replace(config.resources.checkpoints, store=None))
        with nondeterminism_named(config, data):
            return train_trial(
                config, data, plan, scheduler, seed, None, lambda row: None, ranks, here, strategy, teachers
            )[0]
    checkpoints = Checkpoints(checkpoints_folder(path), key, config.resources.checkpoints)
    inputs = {"store": data.digest, "plan": plan.digest, "cell": key, **digest_weights(config.network)}
    try:
        with whole_folder(path) as folder, nondeterminism_named(config, data):
            metrics, counts = train_trial(
                config, data, plan, scheduler, seed, folder, on_epoch, ranks, checkpoints, strategy, teachers
            )
            if (data.path / PREPROCESSING).exists():  # a store made without `bss prepare` has none
                shutil.copyfile(data.path / PREPROCESSING, folder / PREPROCESSING)
            trained = [{"from_step": step, "ranks": count} for step, count in counts]
            more = {"ranks": trained, "device": describe_device(resolve_device(config.resources.device))}
            write_provenance(folder, "train", inputs, trial.parameters, more)
    except BaseException:
        with ranks.undisturbed():
            checkpoints.wait()  # the process ends, and may lose its disk
        raise
    checkpoints.remove()
    return metrics
