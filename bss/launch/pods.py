"""Pods of a cluster: their resource requests, and the settings the pipeline passes to its trials."""

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
"""Environment variable with `NodePods` as JSON, for a step that starts trials on several nodes."""
OBJECT_STORE = (
    *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION"),
)
"""Variables with which a process reaches the object store, and keys of the secret; each may be left out."""

QUANTITY = re.compile(r"\d+(\.\d+)?(m|[kMGTPE]|[KMGTPE]i)?")
"""A Kubernetes quantity such as 500m, 4 or 16Gi."""
KEY = re.compile(r"([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
"""The key of a label or an annotation, such as team or kueue.x-k8s.io/queue-name."""
LABEL = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
"""The value of a label."""
OWNED = ("pipeline/", "pipelines.kubeflow.org/", "workflows.argoproj.io/")
"""Beginnings of keys by which Kubeflow and Argo recognise their pods."""


@dataclass(frozen=True)
class Toleration:
    """A toleration for a taint of GPU nodes."""

    key: str
    """Key of the taint."""
    operator: Literal["Exists", "Equal"] = "Exists"
    """Whether the value matters."""
    value: str | None = None
    """Value of the taint, for `Equal`."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """Effect of the taint; null tolerates all."""

    def __post_init__(self) -> None:
        """Check keys that depend on each other."""
        right = "given for operator Equal and left out for Exists"
        require((self.value is not None) == (self.operator == "Equal"), "value", self.value, right)


@dataclass(frozen=True)
class SecurityContext:
    """Which user the containers run as."""

    run_as_non_root: bool = True
    """Kubernetes refuses to start a container as root; Pod Security `restricted` demands it."""
    run_as_user: int | None = None
    """User id; null takes the image's, which is 10001."""
    run_as_group: int | None = None
    """Group id; null takes the image's, which is 0."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        least = 1 if self.run_as_non_root else 0
        right = f"null or at least {least} with run_as_non_root: {str(self.run_as_non_root).lower()}"
        require(self.run_as_user is None or self.run_as_user >= least, "run_as_user", self.run_as_user, right)
        group = self.run_as_group
        require(group is None or group >= 0, "run_as_group", group, "null or at least 0")


@dataclass(frozen=True)
class Pods:
    """Resources of a step's pods; requests equal limits, so that no pod is evicted because of another."""

    cpu: str = "1"
    """Processors."""
    memory: str = "4Gi"
    """Memory; shared memory counts against it."""
    gpus: int = 0
    """GPUs of each pod; 0 runs on CPU."""
    gpu_resource: str = "nvidia.com/gpu"
    """Resource name of the GPUs in the device plugin."""
    shared_memory: str = "64Mi"
    """Size of /dev/shm, which counts as memory."""
    node_selector: dict[str, str] = field(default_factory=dict)
    """Labels that the node must have."""
    tolerations: tuple[Toleration, ...] = ()
    """Taints of the node that the pods accept."""
    labels: dict[str, str] = field(default_factory=dict)
    """Labels of the pods, and of the TrainJob of a trial on several nodes."""
    annotations: dict[str, str] = field(default_factory=dict)
    """Annotations of the same."""
    timeout_minutes: int = 60
    """A pod that runs longer is ended."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        for key in ("cpu", "memory", "shared_memory"):
            value = getattr(self, key)
            require(QUANTITY.fullmatch(value) is not None, key, value, "a quantity such as 500m, 4 or 16Gi")
        require(self.gpus >= 0, "gpus", self.gpus, "at least 0")
        one = f"at most 1 of {self.gpu_resource}: CUDA shows a process only one MIG slice"
        require(self.gpus <= 1 or not self.in_slices, "gpus", self.gpus, one)
        for key in (*self.labels, *self.annotations):
            form, free = "keys such as team or example.org/team", "keys that Kubeflow and Argo do not use themselves"
            require(KEY.fullmatch(key) is not None, "labels and annotations", key, form)
            require(not key.startswith(OWNED), "labels and annotations", key, free)
        for key, value in self.labels.items():
            right = "at most 63 letters, digits, - _ and ., with a letter or digit first and last"
            require(LABEL.fullmatch(value) is not None, f"labels.{key}", value, right)
        require(self.timeout_minutes >= 1, "timeout_minutes", self.timeout_minutes, "at least 1")

    @property
    def in_slices(self) -> bool:
        """Whether `gpu_resource` is a slice of a GPU, such as nvidia.com/mig-1g.10gb."""
        return self.gpu_resource.rpartition("/")[2].startswith("mig-")


@dataclass(frozen=True)
class NodePods:
    """Resources per node of a trial on several nodes."""

    # Strict types; unknown keys are errors, here and in every section.
    __pydantic_config__: ClassVar[Any] = {"extra": "forbid", "strict": True}

    pods: Pods = field(default_factory=Pods)
    """Resources of each node; it gets train.processes GPUs if resources.device is cuda."""
    secret: str | None = None
    """Kubernetes secret with the credentials of the object store; null if the pods have a role."""
    image_pull_secrets: tuple[str, ...] = ()
    """Secrets for a registry that asks for a password."""
    security_context: SecurityContext | None = None
    """Which user the nodes run as; null leaves it to the image and the runtime."""


def node_pods() -> NodePods:
    """Return the node settings from the environment, or the defaults; raise `BssError` if they are wrong."""
    text = os.environ.get(NODE_PODS, "{}")
    try:
        tree = json.loads(text)
    except ValueError as error:
        raise BssError(f"{NODE_PODS}: not JSON ({error}). The pipeline sets it from cluster.yaml.") from error
    return check_tree(tree, NodePods, NODE_PODS)
