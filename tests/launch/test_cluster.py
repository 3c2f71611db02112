"""Trainings over several pods: the TrainJob as a cluster would get it, and the whole way with pods as processes."""

import json
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import kubernetes.client
import kubernetes_validate
import pytest
import yaml
from buckets import bucket_fixture, keys
from cluster import Cluster
from kubeflow_trainer_api import models
from trials import trial_at

from bss.config import config_from_tree, config_to_tree
from bss.errors import BssError
from bss.files import digest_file
from bss.launch.kubeflow_job import STOPPING, TrainJob, make_train_job
from bss.launch.nodes import check_nodes, train_on_nodes
from bss.launch.pods import NODE_PODS, NodePods, Pods, SecurityContext, Toleration, node_pods
from bss.launch.processes import train_on_ranks
from bss.remote.object_store import check_bucket

pytestmark = pytest.mark.process

IMAGE = "registry.example.org/team/bss@sha256:" + "0" * 64
TRIAL = ("bss-l", 0)
SECRET_VALUE = "a-value-that-nobody-may-see"
ASKED = NodePods(
    Pods("8", "64Gi", 4, node_selector={"zone": "a"}, tolerations=(Toleration("nvidia.com/gpu", effect="NoSchedule"),)),
    "bss",
    ("registry",),
)
EXACT = ("history.csv", "metrics.json", "model.pt", "sequences.parquet", "measurements.parquet", "predictions.parquet")


def changed(pipeline, device="cpu", **train):
    tree = config_to_tree(pipeline[1])
    tree["train"].update(train)
    tree["resources"] |= {"staging": "s3://nodes/test", "device": device}
    return config_from_tree(tree, "params.yaml")


bucket = bucket_fixture("nodes")


@pytest.fixture
def cluster(tmp_path, monkeypatch, aws):
    """A cluster around this process; its secret has what this process has in its environment."""
    secret = {"AWS_ACCESS_KEY_ID": "somebody", "AWS_SECRET_ACCESS_KEY": SECRET_VALUE, "AWS_ENDPOINT_URL": aws}
    cluster = Cluster(tmp_path / "cluster", secret)
    cluster.install(monkeypatch)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_VALUE)
    monkeypatch.setenv("BSS_IMAGE", IMAGE)
    monkeypatch.setenv(NODE_PODS, json.dumps(config_to_tree(ASKED)))
    monkeypatch.setattr("bss.launch.nodes.POLL_SECONDS", 0.2)
    return cluster


def manifest(cluster, config):
    """The TrainJob that is created for `config`, without running it."""
    cluster.start_pod = lambda *arguments: None
    make_train_job("bss-0123456789ab-cdef", config, IMAGE, ["--job", "x", "--seed", "0"]).start()
    (body,) = cluster.created
    return body


def pod_of(body):
    """The pod of a node, as the Trainer makes it from the job."""
    trainer, (patch,) = body["spec"]["trainer"], body["spec"]["runtimePatches"]
    (job,) = patch["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]
    assert job["name"] == "node"
    patched = job["template"]["spec"]["template"]["spec"]
    (container,) = patched.pop("containers")
    assert container["name"] == "node"
    assert "env" not in container  # the Trainer refuses variables that do not come through spec.trainer
    container |= {"image": trainer["image"], "command": trainer["command"], "env": trainer["env"]}
    container["resources"] = trainer["resourcesPerNode"]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "node"},
        "spec": {**patched, "containers": [container]},
    }


def test_the_trainjob_is_what_the_trainers_schema_says(cluster, pipeline):
    body = manifest(cluster, changed(pipeline, "cuda", nodes=2, processes=4))
    parsed = models.TrainerV1alpha1TrainJob.from_dict(body)
    assert parsed.to_dict() == body  # unknown fields would have been dropped
    assert body["spec"]["runtimeRef"] == {"kind": "ClusterTrainingRuntime", "name": "torch-distributed"}
    assert body["spec"]["activeDeadlineSeconds"] == 60 * 60
    trainer = body["spec"]["trainer"]
    assert trainer["image"] == IMAGE
    assert trainer["numNodes"] == 2
    assert trainer["command"][:5] == ["torchrun", "--nproc-per-node", "4", "--signals-to-handle", STOPPING]
    assert trainer["command"][5:] == ["-m", "bss.launch.node_main", "--job", "x", "--seed", "0"]
    asked = {"cpu": "8", "memory": "64Gi", "nvidia.com/gpu": "4"}
    assert trainer["resourcesPerNode"] == {"limits": asked, "requests": asked}


def test_the_pods_of_the_nodes_are_what_kubernetes_accepts(cluster, pipeline):
    pod = pod_of(manifest(cluster, changed(pipeline, "cuda", nodes=2, processes=4)))
    kubernetes_validate.validate(pod, "1.31", strict=True)
    spec = pod["spec"]
    assert spec["nodeSelector"] == {"zone": "a"}
    assert spec["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    assert spec["imagePullSecrets"] == [{"name": "registry"}]
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    assert volumes["shared-memory"]["emptyDir"] == {"medium": "Memory", "sizeLimit": "64Mi"}
    secret = volumes["credentials"]["secret"]
    assert (secret["secretName"], secret["optional"]) == ("bss", True)
    names = {item["key"] for item in secret["items"]}
    assert names >= {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL"}
    assert all(name.startswith("AWS_") for name in names)  # nodes do not log to MLflow
    mounts = {mount["name"]: mount["mountPath"] for mount in spec["containers"][0]["volumeMounts"]}
    env = {variable["name"]: variable["value"] for variable in spec["containers"][0]["env"]}
    assert mounts == {"shared-memory": "/dev/shm", "credentials": env["BSS_SECRET_FILES"]}


def template_of(body):
    """The metadata of the pods of a job's nodes."""
    (patch,) = body["spec"]["runtimePatches"]
    (job,) = patch["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]
    return job["template"]["spec"]["template"]["metadata"]


def test_istio_puts_no_proxy_between_the_nodes(cluster, pipeline):
    body = manifest(cluster, changed(pipeline, nodes=2))
    assert template_of(body)["labels"] == {"sidecar.istio.io/inject": "false"}
    assert body["metadata"] == {"name": "bss-0123456789ab-cdef", "labels": {}, "annotations": {}}


def test_labels_and_annotations_reach_the_job_and_its_pods_but_the_queue_only_the_job(cluster, pipeline, monkeypatch):
    labels = {"team": "vision", "kueue.x-k8s.io/queue-name": "gpus", "sidecar.istio.io/inject": "true"}
    asked = NodePods(Pods(labels=labels, annotations={"example.org/note": "Ask first."}))
    monkeypatch.setenv(NODE_PODS, json.dumps(config_to_tree(asked)))
    body = manifest(cluster, changed(pipeline, nodes=2))
    assert body["metadata"]["labels"] == labels
    assert body["metadata"]["annotations"] == {"example.org/note": "Ask first."}
    assert template_of(body) == {
        "labels": {"team": "vision", "sidecar.istio.io/inject": "true"},
        "annotations": {"example.org/note": "Ask first."},
    }
    models.TrainerV1alpha1TrainJob.from_dict(body)


def test_a_security_context_makes_pods_for_pod_security_restricted(cluster, pipeline, monkeypatch):
    asked = NodePods(security_context=SecurityContext(run_as_user=10001))
    monkeypatch.setenv(NODE_PODS, json.dumps(config_to_tree(asked)))
    pod = pod_of(manifest(cluster, changed(pipeline, nodes=2)))
    kubernetes_validate.validate(pod, "1.31", strict=True)
    assert pod["spec"]["containers"][0]["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 10001,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def test_several_processes_on_one_slice_of_a_gpu_are_refused(cluster, pipeline, monkeypatch):
    monkeypatch.setenv(NODE_PODS, json.dumps({"pods": {"gpus": 1, "gpu_resource": "nvidia.com/mig-1g.10gb"}}))
    with pytest.raises(BssError, match=r"train\.processes: 2, but nvidia\.com/mig-1g\.10gb is a MIG slice"):
        make_train_job("bss-x", changed(pipeline, "cuda", nodes=2, processes=2), IMAGE, [])
    body = manifest(cluster, changed(pipeline, "cuda", nodes=2, processes=1))
    assert body["spec"]["trainer"]["resourcesPerNode"]["limits"]["nvidia.com/mig-1g.10gb"] == "1"


def test_no_secret_is_in_the_trainjob_and_no_gpu_without_cuda(cluster, pipeline):
    body = manifest(cluster, changed(pipeline, nodes=2, processes=4))
    assert SECRET_VALUE not in json.dumps(body)
    assert "somebody" not in json.dumps(body)
    assert "nvidia.com/gpu" not in body["spec"]["trainer"]["resourcesPerNode"]["limits"]


def test_pods_with_a_role_need_no_secret(cluster, pipeline, monkeypatch):
    monkeypatch.delenv(NODE_PODS)
    pod = pod_of(manifest(cluster, changed(pipeline, nodes=2)))
    kubernetes_validate.validate(pod, "1.31", strict=True)
    assert [volume["name"] for volume in pod["spec"]["volumes"]] == ["shared-memory"]


def test_the_rights_that_the_documentation_gives_are_objects_of_kubernetes():
    text = (Path(__file__).parents[2] / "docs" / "multi-node.md").read_text(encoding="utf-8")
    (block,) = [block for block in re.findall(r"```yaml\n(.*?)```", text, flags=re.S) if "ClusterRole" in block]
    objects = list(yaml.safe_load_all(block))
    assert [made["kind"] for made in objects] == ["Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"]
    for made in objects:
        kubernetes_validate.validate(made, "1.31", strict=True)


def test_two_pods_train_as_two_processes_do_and_leave_only_the_result(cluster, bucket, pipeline, small_store, tmp_path):
    rows, trial, plans = [], tmp_path / "runs" / "trial", pipeline[0] / "plans"

    def on_epoch(row):
        rows.append((row["epoch"], trial.exists()))

    for path, config, receive in (
        (tmp_path / "two", changed(pipeline, processes=2), lambda row: None),
        (trial, changed(pipeline, nodes=2), on_epoch),
    ):
        train_on_ranks(trial_at(path, config, small_store, plans, *TRIAL), config, small_store, receive)
    for name in EXACT:
        assert digest_file(trial / name) == digest_file(tmp_path / "two" / name), name
    assert [epoch for epoch, _ in rows] == [0, 1, 2]
    assert [path.name for path in trial.parent.iterdir()] == ["trial"]
    assert cluster.jobs == {}
    stored = keys(bucket, "nodes")
    assert stored
    assert all(key.startswith("test/stores/") for key in stored)


def test_a_pod_that_fails_is_reported_with_its_own_words(cluster, bucket, pipeline, small_store, tmp_path):
    tree = config_to_tree(changed(pipeline, nodes=2))
    tree["train"]["optimiser"]["learning_rate"] = 1e18
    config, plans = config_from_tree(tree, "params.yaml"), pipeline[0] / "plans"
    trial = trial_at(tmp_path / "runs" / "trial", config, small_store, plans, "uniform", 1)
    with pytest.raises(BssError, match=r"^node-\d: the training loss is .* Lower train\.optimiser\.learning_rate"):
        train_on_nodes(trial, config, small_store, lambda row: None)
    assert cluster.jobs == {}
    assert list((tmp_path / "runs").iterdir()) == []
    assert all(key.startswith("test/stores/") for key in keys(bucket, "nodes"))


def test_a_job_that_looks_complete_without_a_result_is_no_training(
    cluster, bucket, pipeline, small_store, tmp_path, monkeypatch
):
    def ended(trainer, job, node, port):
        (cluster.place / job / str(node)).mkdir(parents=True)
        (cluster.place / job / str(node) / "log").touch()
        pod = subprocess.Popen(["true"])
        pod.wait()
        return pod

    cluster.start_pod = ended
    config, plans = changed(pipeline, nodes=2), pipeline[0] / "plans"
    trial = trial_at(tmp_path / "runs" / "trial", config, small_store, plans, *TRIAL)
    with pytest.raises(BssError, match=r"bss-.* finished, but its result cannot be downloaded\. .*no folder there"):
        train_on_nodes(trial, config, small_store, lambda row: None)
    assert list((tmp_path / "runs").iterdir()) == []


def test_rows_that_are_sent_again_count_once_and_lost_ones_come_at_the_end(
    cluster, bucket, pipeline, small_store, tmp_path, monkeypatch
):
    log = TrainJob.log
    monkeypatch.setattr(TrainJob, "log", lambda job, node: cut(log(job, node)) * 2)
    epochs, config = [], changed(pipeline, nodes=2)
    trial = trial_at(tmp_path / "trial", config, small_store, pipeline[0] / "plans", *TRIAL)
    train_on_nodes(trial, config, small_store, lambda row: epochs.append(row["epoch"]))
    assert epochs == [0, 1, 2]


def cut(log):
    """The log as it is while the last epoch's row is being written."""
    return log.partition('"epoch": 2')[0] + "\n"


def test_other_code_in_the_image_is_said(cluster, bucket, pipeline, small_store, tmp_path):
    config = changed(pipeline, nodes=2)
    trial = replace(trial_at(tmp_path / "trial", config, small_store, pipeline[0] / "plans", *TRIAL), key="0" * 64)
    with pytest.raises(BssError, match=r"node-\d: the nodes' image has different code than the process that starts"):
        train_on_nodes(trial, config, small_store, lambda row: None)
    assert cluster.jobs == {}


def test_what_the_cluster_refuses_is_said_in_its_words(cluster, bucket, pipeline, small_store, tmp_path):
    cluster.refusal = kubernetes.client.ApiException(status=403, reason="Forbidden")
    cluster.refusal.body = "trainjobs is forbidden"
    config = changed(pipeline, nodes=2)
    trial = trial_at(tmp_path / "trial", config, small_store, pipeline[0] / "plans", *TRIAL)
    with pytest.raises(BssError, match=r"cannot start the TrainJob bss-.*403 Forbidden trainjobs is forbidden"):
        train_on_nodes(trial, config, small_store, lambda row: None)
    assert all(key.startswith("test/stores/") for key in keys(bucket, "nodes"))


def test_what_the_pipeline_says_of_nodes_is_checked(monkeypatch):
    monkeypatch.setenv(NODE_PODS, json.dumps(config_to_tree(ASKED)))
    assert node_pods() == ASKED
    monkeypatch.setenv(NODE_PODS, '{"pods": {"cpus": "1"}}')
    with pytest.raises(BssError, match=r"BSS_NODE_PODS: pods\.cpus: unknown key; did you mean `cpu`"):
        node_pods()
    monkeypatch.setenv(NODE_PODS, "{")
    with pytest.raises(BssError, match="BSS_NODE_PODS: not JSON"):
        node_pods()


def test_what_is_missing_is_said_before_anything_starts(bucket, pipeline, monkeypatch):
    monkeypatch.delenv("BSS_IMAGE", raising=False)
    with pytest.raises(BssError, match="BSS_IMAGE: not set"):
        check_nodes(changed(pipeline, nodes=2))
    monkeypatch.setenv("BSS_IMAGE", IMAGE)
    with pytest.raises(BssError, match=r"resources\.device: auto looks at this machine"):
        check_nodes(changed(pipeline, "auto", nodes=2))
    check_nodes(changed(pipeline, nodes=2))
    check_bucket("s3://nodes/test")
    tree = config_to_tree(changed(pipeline, nodes=2))
    tree["resources"]["staging"] = "s3://elsewhere/x"
    with pytest.raises(BssError, match="s3://elsewhere/x: the object store has no such bucket"):
        check_nodes(config_from_tree(tree, "params.yaml"))


@pytest.mark.parametrize(
    ("staging", "message"),
    [
        (None, r"`resources.staging` must be s3://bucket/prefix, because train.nodes is 2"),
        ("s3://bucket", "resources: `staging` must be null or an S3 URL"),
        ("/mnt/shared", "resources: `staging` must be null or an S3 URL"),
    ],
)
def test_the_place_of_the_nodes_files_is_asked_for(staging, message, pipeline):
    tree = config_to_tree(pipeline[1])
    tree["train"]["nodes"] = 2
    tree["resources"]["staging"] = staging
    with pytest.raises(BssError, match=message):
        config_from_tree(tree, "params.yaml")


@pytest.mark.parametrize(
    ("device", "endpoint", "message"),
    [
        ("cpu", "http://127.0.0.1:9000", "AWS_ENDPOINT_URL: inside a container, 127.0.0.1 is the container itself"),
        ("cpu", "http://localhost:9000", "AWS_ENDPOINT_URL: inside a container, localhost is"),
        ("cuda", "http://store:9000", "the Kubeflow Trainer gives local containers no GPU"),
        ("cpu", "http://store:9000", "of Docker or Podman elsewhere, but no engine answers"),
    ],
)
def test_what_containers_of_this_machine_cannot_do_is_said(device, endpoint, message, pipeline, monkeypatch, tmp_path):
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/docker.sock")
    monkeypatch.setenv("CONTAINER_HOST", f"unix://{tmp_path}/podman.sock")
    with pytest.raises(BssError, match=message):
        make_train_job("bss-x", changed(pipeline, device, nodes=2), IMAGE, [])
