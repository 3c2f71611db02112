"""TrainJobs of the Kubeflow Trainer: pods on a cluster, or containers of this machine's Docker or Podman.

Inside a cluster the client's Kubernetes backend makes a TrainJob of the runtime torch-distributed; elsewhere
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
STOPPING = ",".join(number.name for number in (*SIGNALS, STOP_SIGNAL))
"""What torchrun passes on to its ranks before it ends."""
ONE_THREAD = {"OMP_NUM_THREADS": "1"}
ENDED_WELL = frozenset({"Complete", "Succeeded"})
FAILED = "Failed"


@dataclass(frozen=True)
class State:
    """What is known of a job."""

    status: str
    """Created, Running, Complete, Failed or Unknown."""
    nodes: dict[str, str]
    """Status of each node that is there, by its name."""


class TrainJob:
    """One job, by its name; nothing is there before `start`."""

    def __init__(self, name: str, client: Any, trainer: Any, options: list[Any], on_cluster: bool) -> None:
        self.name, self.client, self.on_cluster = name, client, on_cluster
        self._trainer, self._options = trainer, options

    def start(self) -> None:
        """Create the job; `BssError` with what the cluster or the engine says where it refuses."""
        try:
            self.client.train(runtime=RUNTIME, trainer=self._trainer, options=self._options)
        except Exception as error:
            raise BssError(f"the Kubeflow Trainer cannot start the TrainJob {self.name}: {_reason(error)}") from error

    def remove_others(self, beginning: str) -> None:
        """Delete the jobs whose names begin so, as `delete` does, where the cluster tells which there are."""
        try:
            names = [job.name for job in self.client.list_jobs()]
        except Exception as error:  # a stranger's broken job is enough for that
            print(f"bss: what an earlier try left cannot be looked for: {_reason(error)}", file=sys.stderr)
            names = []
        for name in names:
            if name.startswith(beginning):
                self._delete(name)

    def look(self) -> State:
        """Return how the job and its nodes are."""
        job = self.client.get_job(self.name)
        return State(job.status, {step.name: str(step.status) for step in job.steps})

    def log(self, node: str) -> str:
        """Return all that a node has logged so far."""
        parts = self.client.get_job_logs(self.name, step=node)
        if self.on_cluster:
            return "\n".join(parts)
        # The log of node-0 comes first, whole; asked for it, the backend goes on with those of the other nodes.
        return str(next(iter(parts), ""))

    def delete(self) -> None:
        """Remove the job with its pods, or its containers and their network; nothing happens where it is not there."""
        self._delete(self.name)

    def _delete(self, name: str) -> None:
        try:
            self.client.delete_job(name)
        except Exception as error:
            if not _is_missing(error):
                raise BssError(f"the TrainJob {name} cannot be deleted: {_reason(error)}") from error


def make_train_job(name: str, config: Config, image: str, arguments: Sequence[str]) -> TrainJob:
    """Return the job `name` that runs `bss.launch.node_main` with `arguments` on train.nodes nodes of `image`.

    Raises `BssError` where there is neither a cluster around this process nor a container engine.
    """
    from kubeflow.common.utils import is_running_in_k8s

    logging.getLogger("kubeflow").setLevel(logging.CRITICAL)  # its errors are raised, and told once
    if is_running_in_k8s():
        return _on_cluster(name, config, image, arguments, node_pods())
    return _on_this_machine(name, config, image, arguments)


def _on_cluster(name: str, config: Config, image: str, arguments: Sequence[str], asked: NodePods) -> TrainJob:
    from kubeflow.trainer import CustomTrainerContainer, TrainerClient
    from kubeflow.trainer.options import ActiveDeadlineSeconds, Name, TrainerCommand

    try:
        client = TrainerClient()
    except Exception as error:
        raise BssError(f"the cluster does not let this pod use its API: {_reason(error)}") from error
    resources = {"cpu": asked.pods.cpu, "memory": asked.pods.memory}
    if config.resources.device == "cuda":
        resources[asked.pods.gpu_resource] = str(config.train.processes)
    trainer = CustomTrainerContainer(
        image=image,
        num_nodes=config.train.nodes,
        resources_per_node=resources,
        env={**ONE_THREAD, **({SECRET_FILES: SECRET_PLACE} if asked.secret else {})},
    )
    # The runtime's own guess counts processors; torchrun takes the rest (nodes, rank, address) from its environment.
    command = ["torchrun", "--nproc-per-node", str(config.train.processes), "--signals-to-handle", STOPPING]
    command += ["-m", "bss.launch.node_main", *arguments]
    # Who started the job and was killed outright deletes nothing; the job ends by itself then.
    limit = ActiveDeadlineSeconds(asked.pods.timeout_minutes * 60)
    options = [Name(name), TrainerCommand(command), _pod_patch(asked), limit]
    return TrainJob(name, client, trainer, options, on_cluster=True)


def _pod_patch(asked: NodePods) -> Any:
    """Return what the pods of the runtime get besides: shared memory, the secret, where they may run.

    The Trainer lets nobody add variables from a secret to its nodes; so the secret is mounted as files.
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
        containers=[k.ContainerPatch(name=NODE, volume_mounts=mounts)],
        image_pull_secrets=[{"name": secret} for secret in asked.image_pull_secrets] or None,
        node_selector=dict(asked.pods.node_selector) or None,
        tolerations=tolerations or None,
    )
    job = k.JobTemplatePatch(spec=k.JobSpecPatch(template=k.PodTemplatePatch(spec=pod)))
    jobs = k.JobSetSpecPatch(replicated_jobs=[k.ReplicatedJobPatch(name=NODE, template=job)])
    return k.RuntimePatch(k.TrainingRuntimeSpecPatch(template=k.JobSetTemplatePatch(spec=jobs)))


def _on_this_machine(name: str, config: Config, image: str, arguments: Sequence[str]) -> TrainJob:
    from kubeflow.trainer import ContainerBackendConfig, CustomTrainer, TrainerClient
    from kubeflow.trainer.backends.container.types import TrainingRuntimeSource
    from kubeflow.trainer.options import Name

    _require_outside_address(os.environ.get("AWS_ENDPOINT_URL", ""))
    if config.resources.device == "cuda":
        raise BssError(
            "params.yaml: resources.device: cuda, but the Kubeflow Trainer gives containers of this machine no GPU. "
            "Set it to cpu, or train.nodes to 1; pods on a cluster have GPUs."
        )
    try:
        # Only built-in runtimes: it would ask GitHub for others, at every look at the job.
        backend = ContainerBackendConfig(pull_policy="Never", runtime_source=TrainingRuntimeSource(sources=[]))
        client: Any = TrainerClient(backend)
    except Exception as error:
        raise BssError(
            f"train.nodes: {config.train.nodes} nodes are pods where this runs in a cluster, and containers of Docker "
            f"or Podman elsewhere, of which none answers. {_reason(error)}"
        ) from error
    if not client.backend._adapter.image_exists(image):  # the client would leave a network behind
        raise BssError(f"BSS_IMAGE: {image}: this machine has no such image. Pull it, or build one: `make image`.")
    trainer = CustomTrainer(
        func=_run_node,
        func_args={"arguments": list(arguments)},
        image=image,
        num_nodes=config.train.nodes,
        # This backend takes its number of processes from here, and nothing else.
        resources_per_node={"gpu": config.train.processes},
        env={**ONE_THREAD, **{key: os.environ[key] for key in OBJECT_STORE if key in os.environ}},
    )
    return TrainJob(name, client, trainer, [Name(name)], on_cluster=False)


def _run_node(arguments):  # type: ignore[no-untyped-def]  # its source, as it stands, is what the containers run
    import sys

    from bss.launch.node_main import main

    sys.exit(main(arguments))


def _require_outside_address(endpoint: str) -> None:
    host = urlsplit(endpoint).hostname or ""
    if host == "localhost" or host.startswith("127.") or host == "::1":
        raise BssError(
            f"AWS_ENDPOINT_URL: {host} is, inside a container, the container itself. Name the object store by an "
            "address that this machine and its containers both reach."
        )


def _reason(error: BaseException) -> str:
    """Return what an error of the client says, and what the API said to the client."""
    said, cause = str(error).strip(), error.__cause__
    if cause is None:
        return said
    text = " ".join(str(part) for part in (getattr(cause, "status", ""), getattr(cause, "reason", "")) if part)
    body = str(getattr(cause, "body", None) or ("" if text else cause))
    return " ".join(part for part in (f"{said}:", text, body[:400].strip()) if part)


def _is_missing(error: BaseException) -> bool:
    return isinstance(error, ValueError) or getattr(error.__cause__, "status", None) == 404
