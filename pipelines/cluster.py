"""The pipeline's cluster settings: pipelines/cluster.yaml, checked strictly."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from bss.balance.checks import require
from bss.config.load import check_tree, read_yaml
from bss.launch.pods import Pods

NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
"""A Kubernetes object's name."""


@dataclass(frozen=True)
class Retries:
    """How often and after how long a failed step is retried."""

    count: int = 3
    """Retries after the first attempt; 0 never retries."""
    backoff_seconds: int = 60
    """Wait before the first retry."""
    factor: float = 2.0
    """Factor by which each wait grows."""
    longest_seconds: int = 900
    """Longest wait."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(self.count >= 0, "count", self.count, "at least 0")
        require(self.backoff_seconds >= 1, "backoff_seconds", self.backoff_seconds, "at least 1")
        require(self.factor >= 1, "factor", self.factor, "at least 1")
        require(self.longest_seconds >= 1, "longest_seconds", self.longest_seconds, "at least 1")


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
    """Concurrent trainings, and before them measurings; 0 leaves it to the cluster."""
    prepare_shards: int = 1
    """Pods that share the decoding; with more than 1, an extra step joins their parts into one store."""
    retries: Retries = field(default_factory=Retries)
    measure: Pods = field(default_factory=Pods)
    """Measuring trains the warm-up network and passes over all training data."""
    train: Pods = field(default_factory=Pods)
    """Each training; on several nodes, the pod of each node."""
    others: Pods = field(default_factory=Pods)
    """All other steps."""

    def __post_init__(self) -> None:
        """Check the names and ranges."""
        for key, name in (("secret", self.secret), *(("image_pull_secrets", name) for name in self.image_pull_secrets)):
            require(NAME.fullmatch(name) is not None, key, name, "a name of lower-case letters, digits, - and .")
        require(self.parallel_trainings >= 0, "parallel_trainings", self.parallel_trainings, "at least 0")
        require(self.prepare_shards >= 1, "prepare_shards", self.prepare_shards, "at least 1")
        require(self.others.gpus == 0, "others.gpus", self.others.gpus, "0: these steps run on CPU")


def load_cluster(path: Path) -> Cluster:
    """Read and check the settings in `path`; raise `BssError` with all wrong keys at once."""
    return check_tree(read_yaml(path), Cluster, path.name)
