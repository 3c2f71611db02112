"""The pipeline: start, prepare per shard, measure per seed, schedule, train per group of trials, compare, finish."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from kfp import dsl, kubernetes

from bss.config import config_to_tree
from bss.errors import BssError
from bss.kubeflow.environment import SECRET_VARIABLES
from bss.launch.pods import NODE_PODS, RUN_ID, NodePods, Pods
from components.audit.component import audit
from components.compare.component import compare
from components.finish.component import finish
from components.join_shards.component import join_shards
from components.list_shards.component import list_shards
from components.measure.component import measure
from components.prepare.component import prepare
from components.schedule.component import schedule
from components.start.component import start
from components.train.component import train
from pipelines.cluster import Cluster

SHELL_STARTS = "_KFP_RUNTIME=true python3 -m kfp.dsl.executor_main"
"""How kfp's shell wrapper of a component starts Python."""

NAME = "bss"
DESCRIPTION = "Balance-aware sequence sampling: measure how balanced each sample is, schedule, train, compare."


def build_pipeline(
    cluster: Cluster, parameters: str, nodes: int, audits: bool, caching: bool = True
) -> Callable[..., Any]:
    """Return the pipeline for `cluster`, with the text `parameters` (params.yaml) as its default.

    With `nodes` (train.nodes) greater than 1 the step train only starts a TrainJob and waits for it: its pod
    asks for what the other steps do, and those of the TrainJob for what `cluster.train` says. Only with `audits`
    (audit.enabled) there is a step audit. Without `caching` no step takes an earlier result.
    """
    launcher = replace(cluster.others, timeout_minutes=cluster.train.timeout_minutes)

    def on(task: Any, pods: Pods, image: Any) -> Any:
        if not caching:
            task.set_caching_options(False)
        return _set_up(task, pods, cluster, image)

    @dsl.pipeline(name=NAME, description=DESCRIPTION)
    def bss_pipeline(
        image: str,
        parameters: str = parameters,
        overrides: list = [],  # noqa: B006 - kfp reads the default and does not modify it
        schedulers: list = [],  # noqa: B006
        seeds: list = [],  # noqa: B006
        strategies: list = [],  # noqa: B006
        data_repository: str = "",
        data_revision: str = "",
        data_path: str = "",
        mlflow_tracking_uri: str = "",
        before: str = "",
    ) -> None:
        """Measure, schedule, train and compare.

        Args:
            image: Image of all steps, by digest or by a tag that never moves, such as a commit.
            parameters: Text of a params.yaml.
            overrides: Texts such as "train.epochs=5".
            schedulers: Names of schedulers in the parameters; empty uses all.
            seeds: Seeds; empty uses those of the parameters.
            strategies: Names of strategies in the parameters, "none" for plain training; empty uses all.
            data_repository: URL of a git repository with data under DVC; empty for prepare.root on S3 or built-in data.
            data_revision: Branch, tag or commit; empty for the default branch.
            data_path: Folder in the repository.
            mlflow_tracking_uri: URL of the MLflow server; empty uses the secret's MLFLOW_TRACKING_URI.
            before: Folder on S3 with the report of an earlier run, before decisions about samples; empty for none.
        """
        last = on(finish(mlflow_tracking_uri=mlflow_tracking_uri), cluster.light, image)
        last.set_caching_options(False)
        with dsl.ExitHandler(last, name="steps"):
            started = on(
                start(
                    parameters=parameters,
                    overrides=overrides,
                    schedulers=schedulers,
                    seeds=seeds,
                    strategies=strategies,
                    data_repository=data_repository,
                    data_revision=data_revision,
                    data_path=data_path,
                    mlflow_tracking_uri=mlflow_tracking_uri,
                    image=image,
                    gpus=cluster.train.gpus,
                    nodes=nodes,
                    audits=audits,
                    before=before,
                ),
                cluster.light,
                image,
            )
            # It checks the current data and MLflow server; last week's result says nothing about them.
            started.set_caching_options(False)
            decides = {"parameters": started.outputs["prepare"], "data_digest": started.outputs["digest"]}
            place = {"data_repository": data_repository, "data_revision": data_revision, "data_path": data_path}
            if cluster.prepare_shards == 1:
                prepared = on(prepare(**decides, **place, shard=0, shards=1), cluster.others, image)
            else:
                listed = on(list_shards(**decides, shards=cluster.prepare_shards), cluster.others, image)
                with dsl.ParallelFor(listed.output, name="shards") as one:
                    part = on(
                        prepare(
                            parameters=one.parameters,
                            data_digest=one.digest,
                            **place,
                            shard=one.shard,
                            shards=one.shards,
                        ),
                        cluster.others,
                        image,
                    )
                joined = join_shards(**decides, parts=dsl.Collected(part.outputs["store"]))
                prepared = on(joined, cluster.others, image)
            store, store_digest = prepared.outputs["store"], prepared.outputs["digest"]
            audited: dict[str, Any] = {}
            if audits:  # it takes what measuring takes: it trains networks, too
                decides = {"parameters": started.outputs["audit"], "digest": store_digest}
                audited["audit"] = on(audit(**decides, store=store), cluster.measure, image).outputs["found"]
            with dsl.ParallelFor(
                started.outputs["Output"], name="measurements", parallelism=cluster.parallel_trainings
            ) as one:
                measured = on(
                    measure(parameters=one.parameters, digest=one.digest, store=store),
                    cluster.measure,
                    image,
                )
            scheduled = on(
                schedule(
                    parameters=started.outputs["schedule"],
                    store=store,
                    store_digest=store_digest,
                    measured=dsl.Collected(measured.outputs["scores"]),
                    scores_digests=dsl.Collected(measured.outputs["digest"]),
                    trials_per_pod=cluster.trials_per_pod,
                ),
                cluster.others,
                image,
            )
            scores, plans = scheduled.outputs["scores"], scheduled.outputs["plans"]
            with dsl.ParallelFor(
                scheduled.outputs["Output"], name="trials", parallelism=cluster.parallel_trainings
            ) as one:
                trained = on(
                    train(
                        group=one.group,
                        digest=one.digest,
                        mlflow_tracking_uri=mlflow_tracking_uri,
                        image=image,
                        store=store,
                        scores=scores,
                        plans=plans,
                    ),
                    cluster.train if nodes == 1 else launcher,
                    image,
                )
                if nodes > 1:
                    # Not a parameter: more memory for the nodes is no reason to train again.
                    asked = NodePods(
                        cluster.train, cluster.secret, cluster.image_pull_secrets, cluster.security_context
                    )
                    trained.set_env_variable(NODE_PODS, json.dumps(config_to_tree(asked), sort_keys=True))
            compared = on(
                compare(
                    parameters=started.outputs["run"],
                    data=started.outputs["data"],
                    mlflow_tracking_uri=mlflow_tracking_uri,
                    store=store,
                    scores=scores,
                    plans=plans,
                    models=dsl.Collected(trained.outputs["model"]),
                    before=before,
                    **audited,
                ),
                cluster.others,
                image,
            )
            # It logs the report to the MLflow run of this pipeline run, even if steps were reused.
            compared.set_caching_options(False)

    return bss_pipeline


def _set_up(task: Any, pods: Pods, cluster: Cluster, image: Any) -> Any:
    """Set the image of `task` and apply the cluster settings."""
    task.container_spec.command = without_shell(task.container_spec.command)
    task.set_container_image(image)
    task.set_cpu_request(pods.cpu).set_cpu_limit(pods.cpu)
    task.set_memory_request(pods.memory).set_memory_limit(pods.memory)
    if pods.gpus:
        task.set_accelerator_type(pods.gpu_resource).set_accelerator_limit(pods.gpus)
    if cluster.retries.count:
        task.set_retry(
            cluster.retries.count,
            backoff_duration=f"{cluster.retries.backoff_seconds}s",
            backoff_factor=cluster.retries.factor,
            # Not the longest wait: the time that all tries may take together.
            backoff_max_duration=f"{cluster.retries.window(pods.timeout_minutes)}s",
        )
    kubernetes.empty_dir_mount(task, "shared-memory", "/dev/shm", medium="Memory", size_limit=pods.shared_memory)
    kubernetes.set_timeout(task, pods.timeout_minutes * 60)
    for key, value in pods.node_selector.items():
        kubernetes.add_node_selector(task, key, value)
    for toleration in pods.tolerations:
        kubernetes.add_toleration(task, toleration.key, toleration.operator, toleration.value, toleration.effect)
    kubernetes.use_secret_as_env(task, cluster.secret, dict(SECRET_VARIABLES), optional=True)
    if cluster.image_pull_secrets:
        kubernetes.set_image_pull_secrets(task, list(cluster.image_pull_secrets))
    # Not a parameter: the id of the run would keep every step from being reused.
    kubernetes.use_field_path_as_env(task, RUN_ID, "metadata.labels['pipeline/runid']")
    for key, value in pods.labels.items():
        kubernetes.add_pod_label(task, key, value)
    for key, value in pods.annotations.items():
        kubernetes.add_pod_annotation(task, key, value)
    if cluster.security_context:
        kubernetes.set_security_context(task, **vars(cluster.security_context))
    return task


def without_shell(command: list[str]) -> list[str]:
    """Return `command` with Python replacing its shell by exec, because the shell would not forward signals."""
    replaced = [part.replace(SHELL_STARTS, f"exec env {SHELL_STARTS}") for part in command]
    if replaced == command:
        raise BssError(f"kfp does not start components with `{SHELL_STARTS}`. Install the locked version of kfp.")
    return replaced
