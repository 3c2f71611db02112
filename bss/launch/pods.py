"""Pods of a cluster: what they ask for, and what the pipeline tells those of its trainings."""

import json
import os
import re
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from bss.balance.checks import require
from bss.config.load import check_tree
from bss.errors import BssError

RUN_ID = "BSS_KFP_RUN_ID"
"""Environment variable with the id of the Kubeflow run."""
NODE_PODS = "BSS_NODE_PODS"
"""Environment variable with `NodePods` as JSON, for a step that starts trainings on several nodes."""
OBJECT_STORE = (
    *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION"),
)
"""Variables with which a process reaches the object store, and keys of the secret; each may be left out."""

QUANTITY = re.compile(r"\d+(\.\d+)?(m|[kMGTPE]|[KMGTPE]i)?")
"""A Kubernetes quantity such as 500m, 4 or 16Gi."""


@dataclass(frozen=True)
class Toleration:
    """A taint of GPU nodes that pods accept."""

    key: str
    """Key of the taint."""
    operator: Literal["Exists", "Equal"] = "Exists"
    """Whether the value matters."""
    value: str | None = None
    """Value of the taint, for `Equal`."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """Effect of the taint; null accepts all."""

    def __post_init__(self) -> None:
        """Check what belongs together."""
        right = "given for operator Equal and left out for Exists"
        require((self.value is not None) == (self.operator == "Equal"), "value", self.value, right)


@dataclass(frozen=True)
class Pods:
    """What the pods of a step ask for; requests equal limits, so that no pod is evicted for another's greed."""

    cpu: str = "1"
    """Processors."""
    memory: str = "4Gi"
    """Memory; shared memory counts against it."""
    gpus: int = 0
    """GPUs of each pod; 0 runs on CPU."""
    gpu_resource: str = "nvidia.com/gpu"
    """Name of the GPUs, as the device plugin gives it."""
    shared_memory: str = "64Mi"
    """Size of /dev/shm, which lies in memory."""
    node_selector: dict[str, str] = field(default_factory=dict)
    """Labels that the node must have."""
    tolerations: tuple[Toleration, ...] = ()
    """Taints of the node that the pods accept."""
    timeout_minutes: int = 60
    """A pod that runs longer is ended."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        for key in ("cpu", "memory", "shared_memory"):
            value = getattr(self, key)
            require(QUANTITY.fullmatch(value) is not None, key, value, "a quantity such as 500m, 4 or 16Gi")
        require(self.gpus >= 0, "gpus", self.gpus, "at least 0")
        require(self.timeout_minutes >= 1, "timeout_minutes", self.timeout_minutes, "at least 1")


@dataclass(frozen=True)
class NodePods:
    """What a training on several nodes asks of the cluster for each node."""

    # Strict types, and unknown keys are errors, here and in every section.
    __pydantic_config__: ClassVar[Any] = {"extra": "forbid", "strict": True}

    pods: Pods = field(default_factory=Pods)
    """Resources of each node; its GPUs are train.processes where resources.device is cuda."""
    secret: str | None = None
    """Kubernetes secret with the credentials of the object store; null where the pods have a role."""
    image_pull_secrets: tuple[str, ...] = ()
    """Secrets for a registry that asks for a password."""


def node_pods() -> NodePods:
    """Return what the environment says of nodes, or the defaults; `BssError` where it is wrong."""
    text = os.environ.get(NODE_PODS, "{}")
    try:
        tree = json.loads(text)
    except ValueError as error:
        raise BssError(f"{NODE_PODS}: not JSON ({error}). The pipeline sets it from cluster.yaml.") from error
    return check_tree(tree, NodePods, NODE_PODS)
