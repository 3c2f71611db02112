"""A fake cluster for the Kubeflow Trainer's client, whose pods are processes.

It takes the place of the Kubernetes API that the client calls. What a TrainJob asks for runs as a cluster
would run it: the command of the job with torchrun's PET_ variables, and the keys of a secret as files.
"""

import os
import socket
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import kubeflow.common.utils
import kubernetes.client
import kubernetes.config

NAMESPACE = "team"
RUNTIME = {
    "apiVersion": "trainer.kubeflow.org/v1alpha1",
    "kind": "ClusterTrainingRuntime",
    "metadata": {"name": "torch-distributed", "labels": {"trainer.kubeflow.org/framework": "torch"}},
    "spec": {
        "mlPolicy": {"numNodes": 1, "torch": {}},
        "template": {
            "spec": {
                "replicatedJobs": [
                    {
                        "name": "node",
                        "template": {
                            "metadata": {"labels": {"trainer.kubeflow.org/trainjob-ancestor-step": "trainer"}},
                            "spec": {"template": {"spec": {"containers": [{"name": "node", "image": "pytorch"}]}}},
                        },
                    }
                ]
            }
        },
    },
}


class Later:
    """What the client's calls with async_req return."""

    def __init__(self, answer):
        self.answer = answer

    def get(self, timeout):
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Cluster:
    """What the cluster holds; also both APIs of it that the client asks for."""

    def __init__(self, place: Path, secret: dict[str, str]):
        self.place = place
        self.secret = secret
        self.created = []
        """Bodies of all TrainJobs that were created."""
        self.jobs = {}
        self.pods = {}
        """Name of a job to the processes of its nodes."""
        self.refusal = None
        """What the creation of a TrainJob is refused with; None takes it."""

    def install(self, monkeypatch):
        monkeypatch.setattr(kubeflow.common.utils, "is_running_in_k8s", lambda: True)
        monkeypatch.setattr(kubeflow.common.utils, "get_default_target_namespace", lambda context: NAMESPACE)
        monkeypatch.setattr(kubernetes.config, "load_incluster_config", lambda: None)
        for api in ("CustomObjectsApi", "CoreV1Api"):
            monkeypatch.setattr(kubernetes.client, api, lambda api_client: self)

    def create_namespaced_custom_object(self, group, version, namespace, plural, body):
        assert (group, version, namespace, plural) == ("trainer.kubeflow.org", "v1alpha1", NAMESPACE, "trainjobs")
        if self.refusal:
            raise self.refusal
        name = body["metadata"]["name"]
        self.created.append(body)
        made = {"namespace": NAMESPACE, "creationTimestamp": datetime.now(UTC).isoformat()}
        self.jobs[name] = {**body, "metadata": {**body["metadata"], **made}}
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            port = listener.getsockname()[1]
        nodes = range(body["spec"]["trainer"]["numNodes"])
        self.pods[name] = [self.start_pod(body["spec"]["trainer"], name, node, port) for node in nodes]

    def start_pod(self, trainer, job, node, port):
        folder = self.place / job / str(node)
        (folder / "secret").mkdir(parents=True)
        for key, value in self.secret.items():
            (folder / "secret" / key).write_text(value)
        own = {variable["name"]: variable["value"] for variable in trainer["env"]}
        own |= {"BSS_SECRET_FILES": str(folder / "secret"), "TMPDIR": str(folder)}
        own |= {"PET_NNODES": str(trainer["numNodes"]), "PET_NODE_RANK": str(node), "PET_NPROC_PER_NODE": "4"}
        own |= {"PET_MASTER_ADDR": "127.0.0.1", "PET_MASTER_PORT": str(port)}
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        torchrun, *arguments = trainer["command"]
        assert torchrun == "torchrun"
        with (folder / "log").open("wb") as log:
            command = [sys.executable, "-m", "torch.distributed.run", *arguments]
            return subprocess.Popen(command, env=inherited | own, stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def phase(self, pod):
        if pod.poll() is None:
            return "Running"
        return "Failed" if pod.returncode else "Succeeded"

    def get_namespaced_custom_object(self, group, version, namespace, plural, name, async_req):
        if name not in self.jobs:
            return Later(kubernetes.client.ApiException(status=404))
        phases = {self.phase(pod) for pod in self.pods[name]}
        ended = "Failed" if "Failed" in phases else "Complete" if phases == {"Succeeded"} else None
        moment = datetime.now(UTC).isoformat()
        condition = {"type": ended, "status": "True", "reason": "x", "message": "", "lastTransitionTime": moment}
        return Later({**self.jobs[name], "status": {"conditions": [condition]} if ended else {}})

    def get_cluster_custom_object(self, group, version, plural, name, async_req):
        return Later(RUNTIME if name == "torch-distributed" else kubernetes.client.ApiException(status=404))

    def list_namespaced_custom_object(self, group, version, namespace, plural, async_req):
        place = (group, version, namespace, plural)
        items = [self.get_namespaced_custom_object(*place, name, True).get(1) for name in self.jobs]
        return Later({"metadata": {}, "items": items})

    def delete_namespaced_custom_object(self, group, version, namespace, plural, name):
        if name not in self.jobs:
            raise kubernetes.client.ApiException(status=404)
        for pod in self.pods.pop(name):
            pod.terminate()
            pod.wait(60)
        del self.jobs[name]

    def list_namespaced_pod(self, namespace, label_selector, async_req):
        job = next(name for name in self.jobs if f"={name}," in label_selector)
        k8s = kubernetes.client
        resources = k8s.V1ResourceRequirements(**self.jobs[job]["spec"]["trainer"]["resourcesPerNode"])
        pods = [
            k8s.V1Pod(
                metadata=k8s.V1ObjectMeta(
                    name=f"{job}-node-0-{node}-abcde",
                    labels={
                        "jobset.sigs.k8s.io/replicatedjob-name": "node",
                        "batch.kubernetes.io/job-completion-index": str(node),
                    },
                ),
                spec=k8s.V1PodSpec(containers=[k8s.V1Container(name="node", resources=resources)]),
                status=k8s.V1PodStatus(phase=self.phase(pod)),
            )
            for node, pod in enumerate(self.pods[job])
        ]
        return Later(k8s.V1PodList(items=pods))

    def read_namespaced_pod_log(self, name, namespace, container):
        job, _, rest = name.partition("-node-0-")
        return (self.place / job / rest.partition("-")[0] / "log").read_text(errors="replace")

    def read_namespaced_config_map(self, name, namespace):
        raise kubernetes.client.ApiException(status=403)
