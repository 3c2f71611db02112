"""Stage 4 as a Kubeflow component: one training."""

from kfp import dsl
from kfp.dsl import Dataset, Input, Metrics, Model, Output

from components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def train(
    scheduler: str,
    seed: int,
    digest: str,
    mlflow_tracking_uri: str,
    image: str,
    store: Input[Dataset],
    scores: Input[Dataset],
    plans: Input[Dataset],
    model: Output[Model],
    metrics: Output[Metrics],
):
    """Train one scheduler with one seed, here or on several nodes that this step starts; seen live in MLflow.

    Args:
        scheduler: Name of the scheduler.
        seed: The seed.
        digest: Digest of its plan, parameters and data: another training is never taken from the cache.
        mlflow_tracking_uri: Address of the MLflow server; empty takes the secret's MLFLOW_TRACKING_URI.
        image: Image of the nodes where train.nodes is greater than 1.
        store: The decoded samples.
        scores: A row per training sample and seed.
        plans: A folder per scheduler, and what decides each training.
        model: Weights, network, history, metrics, predictions, and the sequence of every epoch.
        metrics: The numbers of metrics.json.
    """
    import json
    import os
    import tempfile
    from pathlib import Path

    from bss.kubeflow.environment import secret_environment
    from bss.kubeflow.execution import join_execution
    from bss.kubeflow.messages import plain_errors
    from bss.kubeflow.trainings import take_trial, trial_config, without_tracking
    from bss.stages.train import train as train_stage

    os.environ.setdefault("BSS_IMAGE", image)
    with plain_errors(), secret_environment(mlflow_tracking_uri):
        config, place = trial_config(Path(plans.path), scheduler, seed, digest), Path(model.path)
        execution = join_execution(config, mlflow_tracking_uri)
        with tempfile.TemporaryDirectory(dir=place.parent) as temporary:
            runs = Path(temporary) / "runs"
            paths = (Path(store.path), Path(scores.path), Path(plans.path), runs)
            train_stage(
                config if execution else without_tracking(config),
                *paths,
                trials=[(scheduler, seed)],
                execution=execution,
            )
            numbers = take_trial(runs, scheduler, seed, place)
    for name, value in numbers.items():
        if isinstance(value, (int, float)):
            metrics.log_metric(name, value)
    # Kubeflow keeps the numbers with the artifact; without a file kfp.local takes it for lost.
    Path(metrics.path).write_text(json.dumps(numbers), encoding="utf-8")
    model.metadata.update(framework="pytorch", scheduler=scheduler, seed=seed, digest=digest)
