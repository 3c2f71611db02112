"""The folder of one training: what decides its content, and its atomic creation."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from bss.artifacts.history import read_history
from bss.artifacts.plans import read_plan
from bss.config import Config, config_to_tree
from bss.data.preprocessing import PREPROCESSING
from bss.data.store import Store
from bss.deciding import TRIAL, code_digest, pick
from bss.errors import BssError
from bss.files import digest_json, read_json, whole_folder
from bss.models.pretrained import digest_weights
from bss.provenance import write_provenance
from bss.training.distributed.ranks import ALONE, Ranks
from bss.training.nondeterminism import nondeterminism_named
from bss.training.reproducible import describe_device, device_type, resolve_device
from bss.training.resume.checkpoints import Checkpoints, checkpoints_folder
from bss.training.resume.state import Row
from bss.training.trial import train_trial


def trial_parameters(config: Config, name: str, seed: int) -> dict[str, Any]:
    """Return every parameter that decides the result of one trial, as plain values.

    The number of ranks does not: the steps are the same, and only the order of floating-point sums differs.
    """
    decides = pick(config_to_tree(config), TRIAL)
    measure = decides.pop("measure")
    scheduler = config_to_tree(config.schedule.schedulers[name])
    return {
        **{"scheduler_name": name, "scheduler": scheduler, "seed": seed, **decides, "score": measure.pop("score")},
        **{f"measuring_{key}": value for key, value in measure.items()},
        "sequences_mib": config.tracking.sequences_mib,
    }


def trial_key(config: Config, data: Store, plans: Path, name: str, seed: int) -> str:
    """Return the digest of all that decides one trial: parameters, store, plan, code, kind of device, weights."""
    plan = read_plan(plans, name, seed, data, config_to_tree(config.schedule.schedulers[name]))
    decides = {
        "parameters": trial_parameters(config, name, seed),
        "store": data.digest,
        "plan": plan.digest,
        "code": code_digest("train"),
        "device": device_type(config),
        "weights": digest_weights(config.network),
    }
    return digest_json(decides)


def is_finished(folder: Path, key: str) -> bool:
    """Return whether `folder` holds the trial with `trial_key` `key`; a damaged one is trained again."""
    try:
        made = read_json(folder / "provenance.json", "train", {"inputs": dict})
        read_json(folder / "metrics.json", "train", {"steps": int})
        read_json(folder / "timing.json", "train", {"seconds": float})
        read_history(folder / "history.csv")
    except BssError:
        return False
    return bool(made["inputs"].get("cell") == key) and (folder / "model.pt").is_file()


def train_into(
    path: Path,
    config: Config,
    data: Store,
    plans: Path,
    name: str,
    seed: int,
    on_epoch: Callable[[Row], None],
    ranks: Ranks = ALONE,
) -> dict[str, Any]:
    """Run one trial and put its folder at `path`; return the content of metrics.json.

    Collective; only rank 0 writes, and `on_epoch` gets the rows only there. A trial that
    was stopped resumes from its last checkpoint, even from another number of ranks, and `on_epoch` gets the
    earlier rows too.
    """
    plan = read_plan(plans, name, seed, data, config_to_tree(config.schedule.schedulers[name]))
    key = trial_key(config, data, plans, name, seed)
    if ranks.rank > 0:
        here = Checkpoints(checkpoints_folder(path), key, replace(config.resources.checkpoints, store=None))
        with nondeterminism_named(config, data):
            return train_trial(config, data, plan, name, seed, None, lambda row: None, ranks, here)[0]
    checkpoints = Checkpoints(checkpoints_folder(path), key, config.resources.checkpoints)
    inputs = {"store": data.digest, "plan": plan.digest, "cell": key}
    try:
        with whole_folder(path) as folder, nondeterminism_named(config, data):
            metrics, counts = train_trial(config, data, plan, name, seed, folder, on_epoch, ranks, checkpoints)
            if (data.path / PREPROCESSING).exists():  # a store not made by `bss prepare` has none
                shutil.copyfile(data.path / PREPROCESSING, folder / PREPROCESSING)
            trained = [{"from_step": step, "ranks": count} for step, count in counts]
            more = {"ranks": trained, "device": describe_device(resolve_device(config.resources.device))}
            write_provenance(folder, "train", inputs, trial_parameters(config, name, seed), more)
    except BaseException:
        with ranks.undisturbed():
            checkpoints.wait()  # the process ends, and may lose its disk
        raise
    checkpoints.remove()
    return metrics
