"""Groups of trials: each group is one pod and leaves one artifact."""

import math
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from bss.errors import BssError
from bss.files import digest_json, read_json, write_json

GROUPS = "groups.json"
"""File among the plans with the trials of each group."""
MOST_GROUPS = 128
"""Pods that train in one run.

The step compare gets the artifacts of all of them in one argument of its command, of 500 to 750 bytes each, and Linux
takes no argument longer than 131,072 bytes (execve(2), MAX_ARG_STRLEN).
"""
POD_SECONDS = 3600
"""How long a pod should train, if the length of a trial decides how many it trains."""


def group_size(trials: int, asked: int, epoch_seconds: float | None, epochs: int) -> int:
    """Return how many of `trials` trials, each of `epochs` epochs, share a pod.

    `asked` is trials_per_pod; with 0 as many as take `POD_SECONDS` together, if an epoch takes `epoch_seconds`, as
    measured (None: one), and at least so many that `MOST_GROUPS` pods are enough. Raises `BssError` if `asked` would
    take more pods.
    """
    least = max(1, math.ceil(trials / MOST_GROUPS))
    if asked:
        if asked < least:
            raise BssError(
                f"trials_per_pod: {asked}, but {trials} trials need at least {least} per pod, because at most "
                f"{MOST_GROUPS} pods can train in one run. Set it to {least} or more in cluster.yaml, or to 0."
            )
        return asked
    together = int(POD_SECONDS / (epoch_seconds * epochs)) if epoch_seconds else 1
    return max(least, min(together, max(trials, 1)))


def group_trials(
    trials: Sequence[dict[str, Any]], size: int, plans: Path, taught: Collection[str] = ()
) -> list[dict[str, Any]]:
    """Write into `plans` which trials are in which group, `size` or more in each, in order; return the groups.

    Trials of one seed whose strategies are `taught` need the same teachers. They share a group, the last of their
    seed in it, so that no teachers are trained twice; only they make a group larger than `size`.
    ``group`` is the number, and ``digest`` covers all that its trials take: Kubeflow compares values alone, and a
    list of all trials may be longer than a value may be.
    """
    groups: list[list[dict[str, Any]]] = []
    for seed in dict.fromkeys(trial["seed"] for trial in trials):
        of_seed = [trial for trial in trials if trial["seed"] == seed]
        students = [trial for trial in of_seed if trial.get("strategy") in taught]
        units = [[trial] for trial in of_seed if trial.get("strategy") not in taught]
        if students:
            units.append(students)
        for unit in units:
            if not groups or len(groups[-1]) >= size:
                groups.append([])
            groups[-1] += unit
    write_json(plans / GROUPS, {"groups": groups})
    return [{"group": number, "digest": digest_json(group)} for number, group in enumerate(groups)]


def read_group(plans: Path, group: int, digest: str) -> list[dict[str, Any]]:
    """Return the trials of a group that `group_trials` wrote: the fields of `TrialId` and ``digest`` of each.

    Raises `BssError` if `plans` has another group than the one of `digest`, or none.
    """
    groups = read_json(plans / GROUPS, "schedule", {"groups": list})["groups"]
    if not 0 <= group < len(groups) or digest_json(groups[group]) != digest:
        raise BssError(
            f"{plans / GROUPS}: has no group {group} of digest {digest[:12]}: these plans belong to another run. "
            "Rerun the pipeline without its cache."
        )
    found: list[dict[str, Any]] = groups[group]
    return found
