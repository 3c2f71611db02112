"""Start a pipeline run: check every parameter, find the data, open the MLflow run."""

from typing import NamedTuple

from kfp import dsl

from components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def start(
    parameters: str,
    overrides: list,
    schedulers: list,
    seeds: list,
    strategies: list,
    data_repository: str,
    data_revision: str,
    data_path: str,
    mlflow_tracking_uri: str,
    image: str,
    gpus: int,
    nodes: int,
    audits: bool,
    before: str = "",
) -> NamedTuple(
    "Started",
    [
        ("run", str),
        ("prepare", str),
        ("audit", str),
        ("schedule", str),
        ("data", str),
        ("digest", str),
        ("Output", list),
    ],
):
    """Check all parameters, find the data and open the MLflow run, before anything costs a GPU.

    Args:
        parameters: Text of a params.yaml.
        overrides: Texts such as "train.epochs=5", as for `--set`.
        schedulers: Names of schedulers in the parameters; empty uses all.
        seeds: Seeds; empty uses those of the parameters.
        strategies: Names of strategies in the parameters, "none" for plain training; empty uses all.
        data_repository: URL of a git repository with data under DVC; empty for prepare.root on S3 or built-in data.
        data_revision: Branch, tag or commit; empty for the default branch.
        data_path: Folder in the repository.
        mlflow_tracking_uri: URL of the MLflow server; empty uses the secret's MLFLOW_TRACKING_URI.
        image: Image of the steps, recorded in MLflow.
        gpus: GPUs of a training pod.
        nodes: The train.nodes that this pipeline was compiled for.
        audits: Whether it was compiled with the step audit.
        before: Folder on S3 with the report of an earlier run, before decisions about samples; empty for none.

    Returns:
        As JSON: the parameters of the run (run) and of the steps (prepare, audit, schedule), and the version of the
        data (data); the digest of the data (digest); the parameters of measuring with each seed, and a
        digest of its data.
    """
    import json

    from bss.kubeflow.before import earlier_comparison
    from bss.kubeflow.data import data_tags, find_data
    from bss.kubeflow.environment import secret_environment
    from bss.kubeflow.execution import IMAGE_TAG, open_or_find, tracking_address
    from bss.kubeflow.measurements import list_measurements
    from bss.kubeflow.messages import plain_errors
    from bss.kubeflow.start import config_for_pods, resolve, resolve_config
    from bss.report.before_after import read_comparable

    with plain_errors(), secret_environment(mlflow_tracking_uri):
        config = resolve_config(parameters, overrides, schedulers, seeds, strategies)
        config = config_for_pods(config, gpus, nodes, audits)
        with earlier_comparison(before) as earlier:
            if earlier is not None:
                read_comparable(earlier, config)
        version = find_data(config, data_repository, data_revision, data_path)
        if config.tracking.enabled:
            name = version.path.rstrip("/").rpartition("/")[2]
            tags = {IMAGE_TAG: image, **data_tags(version, data_revision)}
            open_or_find(config, name, tracking_address(mlflow_tracking_uri), tags)
        resolved = resolve(config, version)
        seeds_to_measure = list_measurements(resolved.config, version)
        print(f"data: {version.path} {version.commit} digest {version.digest}")
    return (
        resolved.parameters,
        resolved.prepare,
        resolved.audit,
        resolved.schedule,
        json.dumps(vars(version)),
        version.digest,
        seeds_to_measure,
    )
