"""TrainJobs of the Kubeflow Trainer: pods on a cluster, or containers of this machine's Docker or Podman.

Inside a cluster the client's Kubernetes backend creates a TrainJob with the runtime torch-distributed; elsewhere
its container backend starts a container per node. What runs on each node is the same, `bss.launch.node_main`.
"""

import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from bss.config import Config
from bss.errors import BssError
from bss.launch.node_main import SECRET_FILES
from bss.launch.pods import OBJECT_STORE, NodePods, node_pods
from bss.signals import SIGNALS, STOP_SIGNAL

RUNTIME = "torch-distributed"
NODE = "node"
"""Name of the job and of the container of every node in this runtime; a node's step is called node-0, node-1, ..."""
SECRET_PLACE = "/var/run/secrets/bss"
NO_SIDECAR = {"sidecar.istio.io/inject": "false"}
"""Label without which Istio, in the namespace of a profile, puts its proxy between the nodes."""
KUEUE = "kueue.x-k8s.io/"
"""Beginning of Kueue's labels: they are for the job, which it admits as a whole, not for its pods."""
STOPPING = ",".join(number.name for number in (*SIGNALS, STOP_SIGNAL))
"""Signal that torchrun forwards to its ranks before it ends."""
ONE_THREAD = {"OMP_NUM_THREADS": "1"}
ENDED_WELL = frozenset({"Complete", "Succeeded"})
FAILED = "Failed"


@dataclass(frozen=True)
class State:
    """State of a job."""

    status: str
    """Created, Running, Complete, Failed or Unknown."""
    nodes: dict[str, str]
    """Status of each existing node, by name."""


class TrainJob:
    """One job, by name; it does not exist before `start`."""

    def __init__(self, name: str, client: Any, trainer: Any, options: list[Any], on_cluster: bool) -> None:
        self.name, self.client, self.on_cluster = name, client, on_cluster
        self._trainer, self._options = trainer, options

    def start(self) -> None:
        """Create the job; raise `BssError` with the reason if the cluster or the engine refuses."""
        try:
            self.client.train(runtime=RUNTIME, trainer=self._trainer, options=self._options)
        except Exception as error:
            raise BssError(f"the Kubeflow Trainer cannot start the TrainJob {self.name}: {_reason(error)}") from error

    def remove_others(self, beginning: str) -> None:
        """Delete the jobs with this name prefix, like `delete`, if the cluster can list them."""
        try:
            names = [job.name for job in self.client.list_jobs()]
        except Exception as error:  # someone else's broken job is enough to fail
            print(f"bss: cannot look for leftovers of an earlier attempt: {_reason(error)}", file=sys.stderr)
            names = []
        for name in names:
            if name.startswith(beginning):
                self._delete(name)

    def look(self) -> State:
        """Return the state of the job and its nodes."""
        job = self.client.get_job(self.name)
        return State(job.status, {step.name: str(step.status) for step in job.steps})

    def log(self, node: str) -> str:
        """Return all that a node has logged so far."""
        parts = self.client.get_job_logs(self.name, step=node)
        if self.on_cluster:
            return "\n".join(parts)
        # The complete log of node-0 comes first; the backend then appends those of the other nodes.
        return str(next(iter(parts), ""))

    def delete(self) -> None:
        """Remove the job with its pods, or its containers and their network; do nothing if it does not exist."""
        self._delete(self.name)

    def _delete(self, name: str) -> None:
        try:
            self.client.delete_job(name)
        except Exception as error:
            if not _is_missing(error):
                raise BssError(f"the TrainJob {name} cannot be deleted: {_reason(error)}") from error


def make_train_job(name: str, config: Config, image: str, arguments: Sequence[str]) -> TrainJob:
    """Return the job `name` that runs `bss.launch.node_main` with `arguments` on train.nodes nodes of `image`.

    Raises `BssError` if there is neither a cluster around this process nor a container engine.
    """
    from kubeflow.common.utils import is_running_in_k8s

    logging.getLogger("kubeflow").setLevel(logging.CRITICAL)  # its errors are raised and reported once
    if is_running_in_k8s():
        return _on_cluster(name, config, image, arguments, node_pods())
    return _on_this_machine(name, config, image, arguments)


def _on_cluster(name: str, config: Config, image: str, arguments: Sequence[str], asked: NodePods) -> TrainJob:
    from kubeflow.trainer import CustomTrainerContainer, TrainerClient
    from kubeflow.trainer.options import ActiveDeadlineSeconds, Annotations, Labels, Name, TrainerCommand

    try:
        client = TrainerClient()
    except Exception as error:
        raise BssError(f"the cluster does not let this pod use its API: {_reason(error)}") from error
    resources = {"cpu": asked.pods.cpu, "memory": asked.pods.memory}
    if config.resources.device == "cuda":
        if asked.pods.in_slices and config.train.processes > 1:
            raise BssError(
                f"train.processes: {config.train.processes}, but {asked.pods.gpu_resource} is a MIG slice, and CUDA "
                "shows a process only one. Set train.processes to 1, or ask for whole GPUs."
            )
        resources[asked.pods.gpu_resource] = str(config.train.processes)
    trainer = CustomTrainerContainer(
        image=image,
        num_nodes=config.train.nodes,
        resources_per_node=resources,
        env={**ONE_THREAD, **({SECRET_FILES: SECRET_PLACE} if asked.secret else {})},
    )
    # By default the runtime counts processors; torchrun takes the rest (nodes, rank, address) from its environment.
    command = ["torchrun", "--nproc-per-node", str(config.train.processes), "--signals-to-handle", STOPPING]
    command += ["-m", "bss.launch.node_main", *arguments]
    # A starter that was killed cannot delete the job, so the job ends on its own.
    limit = ActiveDeadlineSeconds(asked.pods.timeout_minutes * 60)
    options = [Name(name), TrainerCommand(command), _pod_patch(asked), limit]
    options += [Labels(dict(asked.pods.labels)), Annotations(dict(asked.pods.annotations))]
    return TrainJob(name, client, trainer, options, on_cluster=True)


def _pod_patch(asked: NodePods) -> Any:
    """Return additions to the runtime's pods: labels, shared memory, the secret, node selection.

    The Trainer does not support variables from a secret, so the secret is mounted as files.
    """
    from kubeflow.trainer import options as k

    from bss.config import config_to_tree

    volumes: list[dict[str, Any]] = [
        {"name": "shared-memory", "emptyDir": {"medium": "Memory", "sizeLimit": asked.pods.shared_memory}}
    ]
    mounts: list[dict[str, Any]] = [{"name": "shared-memory", "mountPath": "/dev/shm"}]
    if asked.secret:
        items = [{"key": key, "path": key} for key in OBJECT_STORE]
        secret = {"secretName": asked.secret, "items": items, "optional": True}
        volumes.append({"name": "credentials", "secret": secret})
        mounts.append({"name": "credentials", "mountPath": SECRET_PLACE, "readOnly": True})
    tolerations = [
        {key: value for key, value in config_to_tree(toleration).items() if value is not None}
        for toleration in asked.pods.tolerations
    ]
    pod = k.PodSpecPatch(
        volumes=volumes,
        containers=[k.ContainerPatch(NODE, volume_mounts=mounts, security_context=_security_context(asked))],
        image_pull_secrets=[{"name": secret} for secret in asked.image_pull_secrets] or None,
        node_selector=dict(asked.pods.node_selector) or None,
        tolerations=tolerations or None,
    )
    own = {key: value for key, value in asked.pods.labels.items() if not key.startswith(KUEUE)}
    metadata = {"labels": NO_SIDECAR | own, "annotations": dict(asked.pods.annotations)}
    job = k.JobTemplatePatch(spec=k.JobSpecPatch(template=k.PodTemplatePatch(metadata, pod)))
    jobs = k.JobSetSpecPatch(replicated_jobs=[k.ReplicatedJobPatch(name=NODE, template=job)])
    return k.RuntimePatch(k.TrainingRuntimeSpecPatch(template=k.JobSetTemplatePatch(spec=jobs)))


def _security_context(asked: NodePods) -> dict[str, Any] | None:
    """Return the security context that Pod Security `restricted` demands of a container, as kfp adds to its own."""
    if asked.security_context is None:
        return None
    wanted = asked.security_context
    given = {
        "runAsNonRoot": wanted.run_as_non_root,
        "runAsUser": wanted.run_as_user,
        "runAsGroup": wanted.run_as_group,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    return {key: value for key, value in given.items() if value is not None}


def _on_this_machine(name: str, config: Config, image: str, arguments: Sequence[str]) -> TrainJob:
    from kubeflow.trainer import ContainerBackendConfig, CustomTrainer, TrainerClient
    from kubeflow.trainer.backends.container.types import TrainingRuntimeSource
    from kubeflow.trainer.options import Name

    _require_outside_address(os.environ.get("AWS_ENDPOINT_URL", ""))
    if config.resources.device == "cuda":
        raise BssError(
            "params.yaml: resources.device: cuda, but the Kubeflow Trainer gives local containers no GPU. "
            "Set it to cpu, or train.nodes to 1; pods on a cluster have GPUs."
        )
    try:
        # Only built-in runtimes: it would query GitHub for others on every poll.
        backend = ContainerBackendConfig(pull_policy="Never", runtime_source=TrainingRuntimeSource(sources=[]))
        client: Any = TrainerClient(backend)
    except Exception as error:
        raise BssError(
            f"train.nodes: {config.train.nodes} nodes are pods inside a cluster, and containers of Docker "
            f"or Podman elsewhere, but no engine answers. {_reason(error)}"
        ) from error
    if not client.backend._adapter.image_exists(image):  # otherwise the client would leave a network behind
        raise BssError(f"BSS_IMAGE: {image}: this machine has no such image. Pull it, or build one: `make image`.")
    trainer = CustomTrainer(
        func=_run_node,
        func_args={"arguments": list(arguments)},
        image=image,
        num_nodes=config.train.nodes,
        # This backend takes its number of processes only from here.
        resources_per_node={"gpu": config.train.processes},
        env={**ONE_THREAD, **{key: os.environ[key] for key in OBJECT_STORE if key in os.environ}},
    )
    return TrainJob(name, client, trainer, [Name(name)], on_cluster=False)


def _run_node(arguments):  # type: ignore[no-untyped-def]  # the containers run its source verbatim
    import sys

    from bss.launch.node_main import main

    sys.exit(main(arguments))


def _require_outside_address(endpoint: str) -> None:
    host = urlsplit(endpoint).hostname or ""
    if host == "localhost" or host.startswith("127.") or host == "::1":
        raise BssError(
            f"AWS_ENDPOINT_URL: inside a container, {host} is the container itself. Set a URL of the object store "
            "that both this machine and its containers can reach."
        )


def _reason(error: BaseException) -> str:
    """Return the client's error message, with the API's answer."""
    said, cause = str(error).strip(), error.__cause__
    if cause is None:
        return said
    text = " ".join(str(part) for part in (getattr(cause, "status", ""), getattr(cause, "reason", "")) if part)
    body = str(getattr(cause, "body", None) or ("" if text else cause))
    return " ".join(part for part in (f"{said}:", text, body[:400].strip()) if part)


def _is_missing(error: BaseException) -> bool:
    return isinstance(error, ValueError) or getattr(error.__cause__, "status", None) == 404
