"""The section `resources` of params.yaml; the text under a field is its documentation."""

import re
from dataclasses import dataclass, field
from typing import Literal

from bss.balance.checks import require

S3_FOLDER = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/[^/].*")


@dataclass(frozen=True)
class CheckpointsConfig:
    """How often a trial saves a checkpoint, from which it resumes after a stop."""

    minutes: float | None = 5.0
    """Save at the first step after this many minutes; null: not by time."""
    steps: int | None = None
    """Save after this many steps; null: not by steps."""
    keep: int = 2
    """Number of checkpoints to keep, in case the newest is damaged."""
    store: str | None = None
    """S3 URL, s3://bucket/prefix, to which each checkpoint is also uploaded; null: they stay on this disk.

    A trial whose disk is lost, such as a pod's, resumes from there. Checkpoints are named by the digest of all that
    decides the trial, and removed when it finishes.
    """

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(self.minutes is None or self.minutes > 0, "minutes", self.minutes, "null or greater than 0")
        require(self.steps is None or self.steps >= 1, "steps", self.steps, "null or at least 1")
        require(self.keep >= 1, "keep", self.keep, "at least 1")
        ok = self.store is None or S3_FOLDER.fullmatch(self.store) is not None
        require(ok, "store", self.store, "null or an S3 URL, s3://bucket/prefix")


@dataclass(frozen=True)
class ResourcesConfig:
    """Use of the machine; none of it changes a result on CPU."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto uses a GPU if there is one."""
    deterministic: Literal["error", "warn"] = "error"
    """If an operation has no deterministic implementation on a GPU: error ends the trial and names
    it, warn continues, and two runs may differ. Everything is deterministic on CPU."""
    jobs: int | None = None
    """Trials that run concurrently, each a process; on a GPU they share it.

    null: on CPU one per train.processes processors; on a GPU one, or if all encoders are cnn or
    mlp up to 8, one per 6 GiB of its memory and one per processor; on nodes one.
    """
    staging: str | None = None
    """S3 URL, s3://bucket/prefix, through which the nodes of a trial get their files.

    Required if train.nodes is greater than 1. A trial's own files there are removed when it ends; the
    store, below `stores/<digest>`, stays for the next one.
    """
    checkpoints: CheckpointsConfig = field(default_factory=CheckpointsConfig)
    """Stored next to a trial's folder until it finishes."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(self.jobs is None or self.jobs >= 1, "jobs", self.jobs, "null or at least 1")
        ok = self.staging is None or S3_FOLDER.fullmatch(self.staging) is not None
        require(ok, "staging", self.staging, "null or an S3 URL, s3://bucket/prefix")
