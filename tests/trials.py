"""Trials outside of the stage that trains them: described, and trained in this process."""

from bss.data.store import Store
from bss.training.distributed.ranks import ALONE
from bss.training.trial_folder import train_into
from bss.training.trial_spec import TrialId, describe_trial, read_trial_plan


def trial_at(path, config, store, plans, name, seed):
    """The trial of `name` and `seed` that goes to the folder `path`; `store` is a path."""
    trial, data = TrialId(name, seed), Store.open(store)
    return describe_trial(config, data, plans, trial, path, read_trial_plan(config, data, plans, trial))


def train_at(path, config, data, plans, name, seed, on_epoch, ranks=ALONE):
    """Train `name` and `seed` into the folder `path`."""
    trial = TrialId(name, seed)
    plan = read_trial_plan(config, data, plans, trial)
    return train_into(describe_trial(config, data, plans, trial, path, plan), plan, config, data, on_epoch, ranks)
