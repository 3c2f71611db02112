"""The compiled pipeline that is checked in: what it is, and what it asks of a cluster."""

import json
import os
import re
import subprocess
from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from google.protobuf import json_format
from kfp.kubernetes import kubernetes_executor_config_pb2 as kubernetes_pb
from kfp.pipeline_spec import pipeline_spec_pb2 as pipeline_pb
from refused import refused

from bss.config import BUILTIN, load_config
from bss.config.load import check_tree
from bss.errors import BssError
from bss.kubeflow.environment import SECRET_VARIABLES
from bss.launch.pods import NODE_PODS, NodePods, SecurityContext
from components.readme import OF_AUDIT, OF_SHARDS, STEPS, readme
from pipelines.cluster import Cluster, Retries, load_cluster
from pipelines.compile import compile_pipeline
from pipelines.pipeline import without_shell

PROJECT = Path(__file__).parents[2]
CLUSTER = PROJECT / "pipelines" / "cluster.yaml"
COMPILED = PROJECT / "pipelines" / "pipeline.yaml"
PARAMS = load_config(BUILTIN)
KUBERNETES = "1.31"


@pytest.fixture(scope="module")
def compiled():
    """The two documents that are checked in: the pipeline and its Kubernetes settings."""
    return tuple(yaml.safe_load_all(COMPILED.read_text()))


@pytest.fixture(scope="module")
def executors(compiled):
    return compiled[0]["deploymentSpec"]["executors"]


@pytest.fixture(scope="module")
def settings(compiled):
    return compiled[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]


@pytest.mark.slow
def test_the_checked_in_pipeline_is_what_the_sources_compile_to():
    text = compile_pipeline(CLUSTER, PARAMS)
    assert text == COMPILED.read_text(), "run `make compiled` and commit pipelines/pipeline.yaml"


@pytest.mark.parametrize("step", [*STEPS, *OF_SHARDS, *OF_AUDIT])
def test_the_readme_of_a_component_tells_its_signature(step):
    path = PROJECT / "components" / step / "README.md"
    assert path.read_text() == readme(step), f"run `make compiled` and commit {path.name}"


def test_it_is_a_pipeline_by_kubeflows_own_schema(compiled, settings):
    spec, platforms = compiled
    parsed = json_format.ParseDict(spec, pipeline_pb.PipelineSpec())
    assert parsed.pipeline_info.name == "bss"
    assert set(parsed.root.input_definitions.parameters) >= {"image", "parameters", "overrides", "data_revision"}
    json_format.ParseDict(platforms, pipeline_pb.PlatformSpec())
    for executor in settings.values():  # unknown fields are errors
        json_format.ParseDict(executor, kubernetes_pb.KubernetesExecutorConfig())


def test_every_step_runs_in_the_image_that_the_run_names(executors, compiled):
    assert len(executors) == len(STEPS)
    for executor in executors.values():
        assert executor["container"]["image"] == "{{$.inputs.parameters['pipelinechannel--image']}}"
        assert "pip install" not in str(executor["container"]["command"])
    image = compiled[0]["root"]["inputDefinitions"]["parameters"]["image"]
    assert "defaultValue" not in image


@pytest.mark.process
def test_python_takes_the_place_of_the_shell_that_starts_it(executors, tmp_path):
    # So a signal to the process that a runner or an engine started reaches Python.
    fake = tmp_path / "python3"
    fake.write_text('#!/bin/sh\necho "$$ $_KFP_RUNTIME $*"\n')
    fake.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "TMPDIR": str(tmp_path)}
    for executor in executors.values():
        container = executor["container"]
        command = [*container["command"], *container["args"]]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        output, _ = process.communicate()
        assert output.startswith(f"{process.pid} true -m kfp.dsl.executor_main")


def test_a_kfp_that_starts_python_otherwise_is_refused():
    with pytest.raises(BssError, match="kfp does not start components with"):
        without_shell(["sh", "-c", "python3 -m kfp.executor"])


def test_gpus_processors_and_memory(executors):
    def resources(step):
        return executors[f"exec-{step}"]["container"]["resources"]

    train = resources("train")
    assert train["accelerator"]["resourceType"] == "nvidia.com/gpu"
    assert train["accelerator"]["resourceCount"] == "1"
    assert train["resourceCpuRequest"] == train["resourceCpuLimit"] == "4"
    assert train["resourceMemoryRequest"] == train["resourceMemoryLimit"] == "32Gi"
    for step in ("start", "prepare", "schedule", "compare", "finish"):
        assert "accelerator" not in resources(step)
    for step in ("start", "finish"):
        assert (resources(step)["resourceCpuLimit"], resources(step)["resourceMemoryLimit"]) == ("1", "2Gi")
    assert (resources("prepare")["resourceCpuLimit"], resources("prepare")["resourceMemoryLimit"]) == ("2", "8Gi")


def pod(settings, executors, step):
    """The pod that these settings make, as the Kubernetes API wants it."""
    own, container = settings[f"exec-{step}"], executors[f"exec-{step}"]["container"]
    (mount,) = own["emptyDirMounts"]
    (secret,) = own["secretAsEnv"]
    limits = {
        "cpu": container["resources"]["resourceCpuLimit"],
        "memory": container["resources"]["resourceMemoryLimit"],
    }
    if "accelerator" in container["resources"]:
        accelerator = container["resources"]["accelerator"]
        limits[accelerator["resourceType"]] = accelerator["resourceCount"]
    name = secret["secretNameParameter"]["runtimeValue"]["constant"]
    variables = [
        {
            "name": item["envVar"],
            "valueFrom": {"secretKeyRef": {"name": name, "key": item["secretKey"], "optional": secret["optional"]}},
        }
        for item in secret["keyToEnv"]
    ] + [
        {"name": field["name"], "valueFrom": {"fieldRef": {"fieldPath": field["fieldPath"]}}}
        for field in own["fieldPathAsEnv"]
    ]
    context = own.get("securityContext", {})
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": step, **own.get("podMetadata", {})},
        "spec": {
            "activeDeadlineSeconds": int(own["activeDeadlineSeconds"]),
            "nodeSelector": own.get("nodeSelector", {}).get("labels", {}),
            "tolerations": own.get("tolerations", []),
            "containers": [
                {
                    "name": "main",
                    "image": "bss:1234567",
                    "resources": {"limits": limits},
                    "env": variables,
                    # The backend reads int64 from text.
                    "securityContext": {k: int(v) if isinstance(v, str) else v for k, v in context.items()},
                    "volumeMounts": [{"name": mount["volumeName"], "mountPath": mount["mountPath"]}],
                }
            ],
            "volumes": [
                {
                    "name": mount["volumeName"],
                    "emptyDir": {"medium": mount["medium"], "sizeLimit": mount["sizeLimit"]},
                }
            ],
        },
    }


@pytest.mark.parametrize("step", STEPS)
def test_the_settings_make_a_pod_that_kubernetes_accepts(step, settings, executors):
    kubernetes_validate.validate(pod(settings, executors, step), KUBERNETES, strict=True)


def test_training_pods_have_shared_memory_tolerations_timeout_and_credentials(settings, executors):
    made = pod(settings, executors, "train")["spec"]
    assert made["volumes"][0]["emptyDir"] == {"medium": "Memory", "sizeLimit": "8Gi"}
    assert made["containers"][0]["volumeMounts"][0]["mountPath"] == "/dev/shm"
    assert made["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    assert made["activeDeadlineSeconds"] == 24 * 3600
    env = {variable["name"]: variable["valueFrom"] for variable in made["containers"][0]["env"]}
    assert set(env) == {*SECRET_VARIABLES.values(), "BSS_KFP_RUN_ID"}
    assert env["BSS_KFP_RUN_ID"]["fieldRef"]["fieldPath"] == "metadata.labels['pipeline/runid']"
    assert env["BSS_S3_SECRET_ACCESS_KEY"]["secretKeyRef"] == {
        "name": "bss",
        "key": "AWS_SECRET_ACCESS_KEY",
        "optional": True,
    }


# What kfp 2.17.0 adds to the container of a step where its MLflow plugin injects variables for users:
# backend/src/v2/common/plugins/mlflow/handler.go:141-170, with basic authentication from a secret.
OF_THE_PLUGIN = [
    *({"name": f"MLFLOW_{name}", "value": "x"} for name in ("RUN_ID", "TRACKING_URI", "EXPERIMENT_ID", "WORKSPACE")),
    *(
        {"name": f"MLFLOW_TRACKING_{name}", "valueFrom": {"secretKeyRef": {"name": "kfp-mlflow", "key": name}}}
        for name in ("USERNAME", "PASSWORD")
    ),
]


@pytest.mark.parametrize("step", STEPS)
def test_nothing_in_the_environment_of_a_pod_is_read_by_the_launcher_or_set_by_the_mlflow_plugin(
    step, settings, executors
):
    made = pod(settings, executors, step)
    (container,) = made["spec"]["containers"]
    names = [variable["name"] for variable in container["env"]]
    assert [name for name in names if not name.startswith("BSS_")] == []
    container["env"] += OF_THE_PLUGIN
    names = [variable["name"] for variable in container["env"]]
    assert len(set(names)) == len(names)  # the API refuses a variable with both value and valueFrom
    kubernetes_validate.validate(made, KUBERNETES, strict=True)


def tasks(component):
    return component["dag"]["tasks"]


def all_tasks(compiled):
    dags = [compiled[0]["root"], *compiled[0]["components"].values()]
    return {task["taskInfo"]["name"]: task for dag in dags if "dag" in dag for task in dag["dag"]["tasks"].values()}


def retry_policies(compiled):
    """What each step's retry policy is for Argo, as kfp writes it, and the step's timeout in seconds.

    kfp 2.17.0, backend/src/v2/compiler/argocompiler/container.go:614-650 and 667-685: the durations become their
    seconds, the factor its shortest decimal.
    """
    executors = compiled[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    policies = {}
    for step in STEPS:
        policy = all_tasks(compiled)[step]["retryPolicy"]
        values = {
            "limit": str(policy["maxRetryCount"]),
            "duration": policy["backoffDuration"].removesuffix("s"),
            "factor": f"{policy['backoffFactor']:g}",
            "maxDuration": policy["backoffMaxDuration"].removesuffix("s"),
        }
        policies[step] = values, int(executors[f"exec-{step}"]["activeDeadlineSeconds"])
    return policies


def next_try(policy, tries):
    """What Argo does after `tries`, each the seconds at which it was created and ended: None, or when it tries again
    and when that pod must have ended.

    Argo v4.0.5, workflow/controller/operator.go:1025-1095 and 1134 (processNodeRetries), with
    util/intstr/parametrizable.go:27 for the factor and the limit, which must be whole numbers, and
    pkg/apis/workflow/v1alpha1/utils.go:9, where a duration without a unit is in seconds; workflowpod.go:666 takes the
    end of the window for the pod's deadline.
    """
    end_of_window = tries[0][0] + int(policy["maxDuration"])
    _, ended = tries[-1]
    if ended > end_of_window:
        return None
    again = ended + int(policy["duration"]) * int(policy["factor"]) ** (len(tries) - 1)
    if again > end_of_window or len(tries) > int(policy["limit"]):
        return None
    return again, end_of_window


def test_the_rule_of_argo_on_a_window_of_a_quarter_of_an_hour():
    policy = {"limit": "3", "duration": "60", "factor": "2", "maxDuration": "900"}
    assert next_try(policy, [(0, 600)]) == (660, 900)  # 240 seconds are left of it
    assert next_try(policy, [(0, 870)]) is None
    with pytest.raises(ValueError, match="invalid literal for int"):
        next_try(policy | {"factor": "1.5"}, [(0, 600)])


def test_failed_steps_are_tried_again_with_growing_waits(compiled):
    for policy, _ in retry_policies(compiled).values():
        assert (policy["limit"], policy["duration"], policy["factor"]) == ("3", "60", "2")
    policies = retry_policies(compiled)
    # Four times a timeout of a day and a day of waiting for a node, and waits of 60, 120 and 240 seconds.
    assert policies["train"][0]["maxDuration"] == str(4 * 2 * 86400 + 420)
    assert policies["start"][0]["maxDuration"] == str(4 * (60 * 60 + 86400) + 420)


@pytest.mark.parametrize("step", STEPS)
def test_every_try_may_take_its_whole_timeout_and_wait_a_day_for_a_node(step, compiled):
    policy, timeout = retry_policies(compiled)[step]
    tries = [(0, 86400 + timeout)]
    for wait in (60, 120, 240):
        again, deadline = next_try(policy, tries)
        assert again == tries[-1][1] + wait
        assert deadline >= again + 86400 + timeout
        tries.append((again, again + 86400 + timeout))
    assert next_try(policy, tries) is None  # the fourth was the last


def test_steps_are_reused_but_those_that_look_at_the_world(compiled):
    found = all_tasks(compiled)
    reused = {step for step in STEPS if found[step]["cachingOptions"].get("enableCache")}
    assert reused == {"prepare", "measure", "schedule", "train"}


def test_what_decides_a_reused_step_is_a_value_never_an_artifact_alone(compiled):
    found = all_tasks(compiled)
    assert "data_digest" in found["prepare"]["inputs"]["parameters"]
    assert {"digest", "parameters"} <= set(found["measure"]["inputs"]["parameters"])
    assert {"store_digest", "scores_digests"} <= set(found["schedule"]["inputs"]["parameters"])
    assert {"digest", "group"} <= set(found["train"]["inputs"]["parameters"])
    # Parameters of the whole run would make every training run again for any change.
    assert "parameters" not in found["train"]["inputs"]["parameters"]


def test_seeds_are_measured_in_parallel_and_planning_collects_them(compiled):
    found = all_tasks(compiled)
    assert found["measurements"]["parameterIterator"]["items"]["inputParameter"] == "pipelinechannel--start-Output"
    measured = found["schedule"]["inputs"]["artifacts"]["measured"]["taskOutputArtifact"]
    assert measured["producerTask"].startswith("for-loop")


@pytest.fixture(scope="module")
def in_shards(tmp_path_factory):
    """The two documents of the pipeline that prepares in three shards."""
    path = tmp_path_factory.mktemp("shards") / "cluster.yaml"
    path.write_text(f"{CLUSTER.read_text().replace('prepare_shards: 1', 'prepare_shards: 3')}")
    return tuple(yaml.safe_load_all(compile_pipeline(path, PARAMS)))


@pytest.mark.slow
def test_shards_are_prepared_in_parallel_and_joined(in_shards):
    found = all_tasks(in_shards)
    assert set(found) - {"shards", "steps", "measurements", "trials"} == {*STEPS, "list-shards", "join-shards"}
    assert found["list-shards"]["inputs"]["parameters"]["shards"]["runtimeValue"]["constant"] == 3
    assert found["shards"]["parameterIterator"]["items"]["inputParameter"] == "pipelinechannel--list-shards-Output"
    parts = found["join-shards"]["inputs"]["artifacts"]["parts"]["taskOutputArtifact"]
    assert parts["producerTask"].startswith("for-loop")
    # Everything behind it reads the joined store.
    measured = found["measurements"]["inputs"]["artifacts"]["pipelinechannel--join-shards-store"]["taskOutputArtifact"]
    assert measured == {"outputArtifactKey": "store", "producerTask": "join-shards"}


@pytest.mark.slow
def test_what_decides_a_shard_comes_with_it_as_values(in_shards):
    """Within a loop the local runners give no values of other steps, and an artifact would not decide anything."""
    found = all_tasks(in_shards)
    inputs = found["prepare"]["inputs"]
    assert set(inputs) == {"parameters"}
    items = {
        name: json.loads(given["parameterExpressionSelector"].partition("parseJson(string_value)")[2])
        for name, given in inputs["parameters"].items()
        if "parameterExpressionSelector" in given
    }
    assert items == {"parameters": ["parameters"], "data_digest": ["digest"], "shard": ["shard"], "shards": ["shards"]}
    assert {"parameters", "data_digest"} <= set(found["join-shards"]["inputs"]["parameters"])
    for step in ("list-shards", "prepare", "join-shards"):
        assert found[step]["cachingOptions"]["enableCache"]


@pytest.mark.slow
def test_the_pods_of_shards_ask_for_what_the_other_steps_do(in_shards):
    spec, platforms = in_shards
    json_format.ParseDict(spec, pipeline_pb.PipelineSpec())
    executors = spec["deploymentSpec"]["executors"]
    settings = platforms["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    for step in ("list-shards", "prepare", "join-shards"):
        kubernetes_validate.validate(pod(settings, executors, step), KUBERNETES, strict=True)
        assert (
            executors[f"exec-{step}"]["container"]["resources"] == executors["exec-schedule"]["container"]["resources"]
        )
        assert all_tasks(in_shards)[step]["retryPolicy"]["maxRetryCount"] == 3


def test_trainings_fan_out_and_the_comparison_collects_them(compiled):
    found = all_tasks(compiled)
    assert found["trials"]["parameterIterator"]["items"]["inputParameter"] == "pipelinechannel--schedule-Output"
    models = found["compare"]["inputs"]["artifacts"]["models"]["taskOutputArtifact"]
    assert models["producerTask"].startswith("for-loop")


@pytest.mark.slow
def test_other_settings_reach_the_pods(tmp_path):
    path = tmp_path / "cluster.yaml"
    path.write_text(
        "secret: mine\nimage_pull_secrets: [registry]\nparallel_trainings: 4\nretries: {count: 0}\n"
        "train:\n  gpus: 8\n  gpu_resource: amd.com/gpu\n  node_selector: {zone: a}\n"
        "  tolerations: [{key: team, operator: Equal, value: x}]\n"
    )
    spec, platforms = yaml.safe_load_all(compile_pipeline(path, PARAMS))
    train = platforms["platforms"]["kubernetes"]["deploymentSpec"]["executors"]["exec-train"]
    assert train["nodeSelector"] == {"labels": {"zone": "a"}}
    assert train["tolerations"] == [{"key": "team", "operator": "Equal", "value": "x"}]
    assert train["imagePullSecret"][0]["secretName"] == "registry"
    assert train["secretAsEnv"][0]["secretName"] == "mine"
    accelerator = spec["deploymentSpec"]["executors"]["exec-train"]["container"]["resources"]["accelerator"]
    assert (accelerator["resourceType"], accelerator["resourceCount"]) == ("amd.com/gpu", "8")
    assert all_tasks((spec, platforms))["trials"]["iteratorPolicy"]["parallelismLimit"] == 4
    assert "retryPolicy" not in all_tasks((spec, platforms))["train"]


@pytest.mark.slow
def test_labels_annotations_and_the_security_context_reach_the_pods(tmp_path):
    path = tmp_path / "cluster.yaml"
    path.write_text(
        "security_context: {run_as_user: 20000}\n"
        "train:\n  labels: {kueue.x-k8s.io/queue-name: gpus, team: vision}\n"
        "  annotations: {example.org/note: 'Ask first.'}\n"
        "light: {labels: {team: vision}}\n"
    )
    spec, platforms = yaml.safe_load_all(compile_pipeline(path, PARAMS))
    executors = spec["deploymentSpec"]["executors"]
    settings = platforms["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    for executor in settings.values():
        json_format.ParseDict(executor, kubernetes_pb.KubernetesExecutorConfig())
    made = {step: pod(settings, executors, step) for step in STEPS}
    for one in made.values():
        kubernetes_validate.validate(one, KUBERNETES, strict=True)
        context = one["spec"]["containers"][0]["securityContext"]
        assert context == {"runAsNonRoot": True, "runAsUser": 20000}
    assert made["train"]["metadata"] == {
        "name": "train",
        "labels": {"kueue.x-k8s.io/queue-name": "gpus", "team": "vision"},
        "annotations": {"example.org/note": "Ask first."},
    }
    assert made["start"]["metadata"] == {"name": "start", "labels": {"team": "vision"}}
    assert made["prepare"]["metadata"] == {"name": "prepare"}


def test_without_a_security_context_the_pipeline_has_no_field_that_older_backends_refuse(settings):
    assert all("securityContext" not in executor and "podMetadata" not in executor for executor in settings.values())


@pytest.mark.slow
def test_a_trainjob_gets_the_labels_and_the_security_context(tmp_path):
    path = tmp_path / "cluster.yaml"
    path.write_text("security_context: {}\ntrain:\n  labels: {kueue.x-k8s.io/queue-name: gpus}\n")
    nodes = load_config(BUILTIN, ["train.nodes=2", "resources.staging=s3://bucket/staging"])
    spec, _ = yaml.safe_load_all(compile_pipeline(path, nodes))
    (variable,) = spec["deploymentSpec"]["executors"]["exec-train"]["container"]["env"]
    asked = check_tree(json.loads(variable["value"]), NodePods, NODE_PODS)
    assert asked.pods.labels == {"kueue.x-k8s.io/queue-name": "gpus"}
    assert asked.security_context == SecurityContext(run_as_non_root=True)


@pytest.mark.slow
def test_compiled_for_several_nodes_the_step_only_starts_them_and_tells_what_they_ask_for(settings):
    nodes = load_config(BUILTIN, ["train.nodes=2", "resources.staging=s3://bucket/staging"])
    spec, platforms = yaml.safe_load_all(compile_pipeline(CLUSTER, nodes))
    container = spec["deploymentSpec"]["executors"]["exec-train"]["container"]
    cluster = load_cluster(CLUSTER)
    assert "accelerator" not in container["resources"]
    assert container["resources"]["resourceMemoryLimit"] == cluster.others.memory
    (variable,) = container["env"]
    asked = check_tree(json.loads(variable["value"]), NodePods, NODE_PODS)
    assert (variable["name"], asked) == (NODE_PODS, NodePods(cluster.train, "bss"))
    train = platforms["platforms"]["kubernetes"]["deploymentSpec"]["executors"]["exec-train"]
    assert train["activeDeadlineSeconds"] == settings["exec-train"]["activeDeadlineSeconds"]
    inputs = all_tasks((spec, platforms))["train"]["inputs"]["parameters"]
    assert inputs["image"]["componentInputParameter"] == "pipelinechannel--image"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("trian: {}\n", "trian: unknown key; did you mean `train`?"),
        ("train: {gpus: -1}\n", "train: `gpus` must be at least 0, but got: -1"),
        ("train: {memory: 32GB}\n", "`memory` must be a quantity such as 500m, 4 or 16Gi"),
        ("train: {cpu: 4}\n", "train.cpu: should be a valid string, but got: 4"),
        ("prepare_shards: 0\n", "`prepare_shards` must be at least 1, but got: 0"),
        ("secret: My_Secret\n", "`secret` must be a name of lower-case letters"),
        ("others: {gpus: 1}\n", "others.gpus` must be 0"),
        ("light: {gpus: 1}\n", "light.gpus` must be 0"),
        (
            "train: {gpus: 2, gpu_resource: nvidia.com/mig-1g.10gb}\n",
            "train: `gpus` must be at most 1 of nvidia.com/mig-1g.10gb: CUDA shows a process only one MIG slice, "
            "but got: 2",
        ),
        ("train: {labels: {team: a b}}\n", "train: `labels.team` must be at most 63 letters"),
        ("train: {labels: {team: 1}}\n", "train.labels.team: should be a valid string"),
        ("train: {labels: {Example.org/team: a}}\n", "`labels and annotations` must be keys such as team"),
        ("train: {labels: {pipeline/runid: a}}\n", "must be keys that Kubeflow and Argo do not use themselves"),
        ("train: {annotations: {'a b': c}}\n", "`labels and annotations` must be keys such as team"),
        ("security_context: {run_as_user: 0}\n", "`run_as_user` must be null or at least 1 with run_as_non_root: true"),
        ("security_context: {user: 5}\n", "security_context.user: unknown key"),
        ("train: {tolerations: [{key: a, operator: Equal}]}\n", "given for operator Equal"),
        ("retries: {factor: 1.5}\n", "retries.factor: should be a valid integer, but got: 1.5"),
        ("retries: {count: 20}\n", "`count` must be so few that the waits add up to a week at most"),
        ("retries: {longest_seconds: 900}\n", "retries.longest_seconds: unknown key"),
        ("", "expected sections"),
    ],
)
def test_wrong_settings_are_named(text, message, tmp_path):
    path = tmp_path / "cluster.yaml"
    path.write_text(text)
    assert message in refused(load_cluster, path)


def test_the_settings_in_the_documentation_are_valid(tmp_path):
    text = (PROJECT / "docs" / "kubeflow.md").read_text()
    (block,) = re.findall(r"```yaml\n(.*?)```", text, flags=re.DOTALL)
    path = tmp_path / "cluster.yaml"
    path.write_text(block)
    assert load_cluster(path).train.labels == {"kueue.x-k8s.io/queue-name": "gpus"}


def test_the_committed_settings_are_valid():
    cluster = load_cluster(CLUSTER)
    assert cluster.retries == Retries()
    assert cluster != Cluster()


def test_no_secret_and_no_place_of_this_machine_is_in_the_compiled_pipeline():
    text = COMPILED.read_text()
    assert str(PROJECT) not in text
    assert "password:" not in text.lower()


def test_an_earlier_report_is_given_to_the_first_step_and_to_compare_and_decides_no_other(compiled):
    given = compiled[0]["root"]["inputDefinitions"]["parameters"]["before"]
    assert (given["defaultValue"], given["isOptional"]) == ("", True)
    takers = {
        name: task["inputs"]["parameters"]["before"]["componentInputParameter"]
        for name, task in all_tasks(compiled).items()
        if "before" in task.get("inputs", {}).get("parameters", {})
    }
    assert takers == dict.fromkeys(("start", "compare"), "pipelinechannel--before")


@pytest.mark.slow
def test_with_audit_enabled_there_is_a_step_whose_table_the_comparison_takes(compiled):
    assert "audit" not in all_tasks(compiled)
    config = load_config(BUILTIN, ["audit.enabled=true"])
    spec, platforms = yaml.safe_load_all(compile_pipeline(CLUSTER, config))
    found = all_tasks((spec, platforms))
    assert set(found) == {*all_tasks(compiled), "audit"}
    assert found["audit"]["cachingOptions"]["enableCache"]
    outputs = spec["components"]["comp-audit"]["outputDefinitions"]["artifacts"]
    kinds = {name: output["artifactType"]["schemaTitle"] for name, output in outputs.items()}
    assert kinds == {"found": "system.Dataset", "page": "system.HTML", "summary": "system.Markdown"}
    inputs = found["audit"]["inputs"]
    assert inputs["artifacts"]["store"]["taskOutputArtifact"] == {
        "outputArtifactKey": "store", "producerTask": "prepare",
    }  # fmt: skip
    assert inputs["parameters"]["parameters"]["taskOutputParameter"]["producerTask"] == "start"
    assert inputs["parameters"]["digest"]["taskOutputParameter"]["outputParameterKey"] == "digest"
    taken = found["compare"]["inputs"]["artifacts"]["audit"]["taskOutputArtifact"]
    assert taken == {"outputArtifactKey": "found", "producerTask": "audit"}
