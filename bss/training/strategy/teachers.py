"""Teachers: a network per modality, trained alone once per seed, that some strategies learn from."""

import time
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from bss.artifacts.plans import Plan
from bss.balance.schedulers.uniform import UniformEntry
from bss.config import Config, config_to_tree
from bss.config.combinations import strategy_of
from bss.config.heads import HeadsConfig
from bss.config.schedule import ScheduleConfig
from bss.console import make_console
from bss.data.store import Store
from bss.errors import BssError
from bss.files import digest_json, held, read_json
from bss.training.distributed.ranks import Ranks
from bss.training.initial_network import initial_network
from bss.training.reproducible import resolve_device
from bss.training.resume.state import share_state
from bss.training.strategy.start import UNIMODAL, Teachers, config_for
from bss.training.trial_spec import Trial, TrialId, describe_trial

TEACHERS = ".teachers"
"""Folder in the folder of all trials, or next to a single trial, with a folder per seed, named by its key."""
ROW = ("uniform", "teachers")


def teachers_trial(config: Config, data: Store, student: Trial) -> tuple[Config, Trial, Plan]:
    """Return the training of the teachers of `student`: its parameters, itself, its plan.

    It is an ordinary trial under uniform shuffling, of the student's network, seed and length.
    """
    name, strategy = ROW
    entry = UniformEntry()
    alone = replace(
        config,
        schedule=ScheduleConfig({name: entry}),
        network=replace(config.network, heads=HeadsConfig()),
        strategies={strategy: UNIMODAL},
        combinations=("+".join(ROW),),
        compare=replace(config.compare, baseline="+".join(ROW), control=None),
    )
    plan = Plan(config_to_tree(entry), None, digest_json({"scheduler": config_to_tree(entry), "store": data.digest}))
    trial = TrialId(name, student.id.seed, strategy)
    described = describe_trial(alone, data, student.plans, trial, student.folder, plan)
    return alone, replace(described, folder=_folder(student) / described.key[:16]), plan


def needed_teachers(config: Config, data: Store, students: Iterable[Trial]) -> list[Trial]:
    """Return the trials of the teachers that `students` need, each once."""
    found = [teachers_trial(config, data, student)[1] for student in students if _needs(config, student)]
    return list({trial.folder: trial for trial in found}.values())


def teachers_for(student: Trial, config: Config, data: Store, ranks: Ranks) -> Teachers | None:
    """Return the teachers of `student`, trained now unless they have been; None if its strategy needs none.

    Collective. Trials that need the same teachers wait for the one that trains them.
    """
    if not _needs(config, student):
        return None
    from bss.training.trial_folder import is_finished, train_into  # which calls this

    alone, trial, plan = teachers_trial(config, data, student)
    device = resolve_device(config.resources.device)
    with ExitStack() as stack:
        while not _agreed(ranks.rank > 0 or _taken(stack, trial.folder), ranks, device):
            time.sleep(1)
        if not _agreed(ranks.rank > 0 or is_finished(trial.folder, trial.key), ranks, device):
            if ranks.rank == 0:
                line = f"Training the teachers of seed {trial.id.seed}: {trial.folder}"
                make_console().print(line, highlight=False, markup=False, soft_wrap=True)
            train_into(trial, plan, alone, data, lambda row: None, ranks)
    found = None
    if ranks.rank == 0:
        metrics, timing = (read_json(trial.folder / name, "train") for name in ("metrics.json", "timing.json"))
        weights = torch.load(trial.folder / "model.pt", map_location="cpu", weights_only=True)
        cost = {key: metrics[key] for key in ("steps", "samples", "flops")} | {"seconds": timing["seconds"]}
        found = {"weights": weights, "cost": cost}
    shared = share_state(found, ranks, device)
    assert shared is not None
    network = initial_network(config_for(UNIMODAL, alone), data, trial.id.seed, device)
    network.load_state_dict(shared["weights"])
    return Teachers(network.eval().requires_grad_(False), **shared["cost"])


def _needs(config: Config, student: Trial) -> bool:
    strategy = strategy_of(config, student.id.strategy)
    return strategy is not None and strategy.needs_teachers


def _folder(student: Trial) -> Path:
    in_runs = student.folder.parts[-2:] == Path(student.id.path).parts
    return (student.folder.parents[1] if in_runs else student.folder.parent) / TEACHERS


def _taken(stack: ExitStack, folder: Path) -> bool:
    """Return whether this process holds `folder` now, until the stack ends."""
    try:
        stack.enter_context(held(folder))
    except BssError:
        return False
    return True


def _agreed(answer: bool, ranks: Ranks, device: torch.device) -> bool:
    """Return rank 0's answer."""
    return bool(ranks.agree(np.array([int(answer)]), device)[0])
