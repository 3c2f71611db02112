"""The pipeline's cluster settings: pipelines/cluster.yaml, checked strictly."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from bss.balance.checks import require
from bss.config.load import check_tree, read_yaml
from bss.launch.pods import Pods, SecurityContext

NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
"""A Kubernetes object's name."""


LONGEST_WAITS = 7 * 24 * 3600
"""Seconds that the waits between all tries of a step may add up to."""


@dataclass(frozen=True)
class Retries:
    """How often and after how long a failed step is retried."""

    count: int = 3
    """Retries after the first attempt; 0 never retries."""
    backoff_seconds: int = 60
    """Wait before the second try."""
    factor: int = 2
    """Each wait is this many times the one before; a whole number, because Argo takes no other."""
    pending_minutes: int = 1440
    """How long each try may wait for a node; this and the timeouts of all tries are the window for retrying."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(0 <= self.count <= 100, "count", self.count, "in [0, 100]")
        require(self.backoff_seconds >= 1, "backoff_seconds", self.backoff_seconds, "at least 1")
        require(self.factor >= 1, "factor", self.factor, "at least 1")
        require(self.pending_minutes >= 0, "pending_minutes", self.pending_minutes, "at least 0")
        longest = "so few that the waits add up to a week at most, with backoff_seconds and factor"
        require(self.waits() <= LONGEST_WAITS, "count", self.count, longest)

    def waits(self) -> int:
        """Return the seconds of the waits between all tries."""
        return sum(self.backoff_seconds * self.factor**number for number in range(self.count))

    def window(self, timeout_minutes: int) -> int:
        """Return the seconds from the first try's creation in which Argo may try a step with this timeout again.

        Argo counts all tries in, running and pending, starts none after the window and ends the last pod with it.
        """
        return (self.count + 1) * (timeout_minutes + self.pending_minutes) * 60 + self.waits()


@dataclass(frozen=True)
class Cluster:
    """The whole of cluster.yaml."""

    # Strict types; unknown keys are errors, here and in every section.
    __pydantic_config__: ClassVar[Any] = {"extra": "forbid", "strict": True}

    secret: str = "bss"
    """Kubernetes secret with the credentials of the object store and of MLflow, as environment variables."""
    image_pull_secrets: tuple[str, ...] = ()
    """Secrets for a registry that requires a password."""
    parallel_trainings: int = 0
    """Concurrent trials, and before them measurements; 0 leaves the number to the cluster."""
    trials_per_pod: int = 1
    """Trainings that a pod trains one after the other; 0 chooses so that a pod trains about an hour, as measured."""
    prepare_shards: int = 1
    """Pods that share the decoding; with more than 1 a further step copies what they decoded into one store."""
    security_context: SecurityContext | None = None
    """Which user all containers run as; null leaves it to the image. Needs Kubeflow Pipelines 2.16."""
    retries: Retries = field(default_factory=Retries)
    measure: Pods = field(default_factory=Pods)
    """Measuring trains the warm-up network and passes over all training data; the audit has the same pod."""
    train: Pods = field(default_factory=Pods)
    """Each trial; on several nodes, the pod of each node."""
    light: Pods = field(default_factory=lambda: Pods(cpu="500m", memory="1Gi"))
    """start and finish, which look and record and compute nothing."""
    others: Pods = field(default_factory=Pods)
    """All other steps."""

    def __post_init__(self) -> None:
        """Check the names and ranges."""
        for key, name in (("secret", self.secret), *(("image_pull_secrets", name) for name in self.image_pull_secrets)):
            require(NAME.fullmatch(name) is not None, key, name, "a name of lower-case letters, digits, - and .")
        require(self.parallel_trainings >= 0, "parallel_trainings", self.parallel_trainings, "at least 0")
        require(self.trials_per_pod >= 0, "trials_per_pod", self.trials_per_pod, "at least 0")
        require(self.prepare_shards >= 1, "prepare_shards", self.prepare_shards, "at least 1")
        for key, pods in (("light", self.light), ("others", self.others)):
            require(pods.gpus == 0, f"{key}.gpus", pods.gpus, "0: these steps run on CPU")


def load_cluster(path: Path) -> Cluster:
    """Read and check the settings in `path`; raise `BssError` with all wrong keys at once."""
    return check_tree(read_yaml(path), Cluster, path.name)
