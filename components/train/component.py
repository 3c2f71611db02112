"""Stage 4 as a Kubeflow component: a group of trials."""

from kfp import dsl
from kfp.dsl import Dataset, Input, Metrics, Model, Output

from components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def train(
    group: int,
    digest: str,
    mlflow_tracking_uri: str,
    image: str,
    store: Input[Dataset],
    scores: Input[Dataset],
    plans: Input[Dataset],
    model: Output[Model],
    metrics: Output[Metrics],
):
    """Train the trials of a group, here or on several nodes that this step starts; logs live to MLflow.

    Args:
        group: Number of the group.
        digest: Digest of its trials' plans, parameters and data: others are never taken from the cache.
        mlflow_tracking_uri: URL of the MLflow server; empty uses the secret's MLFLOW_TRACKING_URI.
        image: Image of the nodes if train.nodes is greater than 1.
        store: The decoded samples.
        scores: A row per training sample and seed.
        plans: A folder per scheduler, and what decides each trial.
        model: A folder <scheduler>[+<strategy>]/seed=<s> for each trial with weights, network, history, metrics,
            predictions, and the sequence of every epoch.
        metrics: The numbers of each trial's metrics.json.
    """
    import json
    import os
    import shutil
    import tempfile
    from pathlib import Path

    from bss.kubeflow.environment import secret_environment
    from bss.kubeflow.execution import join_execution
    from bss.kubeflow.groups import read_group
    from bss.kubeflow.messages import plain_errors
    from bss.kubeflow.trials import share_teachers, take_trial, trial_config, without_tracking
    from bss.stages.train import train as train_stage
    from bss.training.trial_spec import TrialId

    os.environ.setdefault("BSS_IMAGE", image)
    numbers = {}
    with plain_errors(), secret_environment(mlflow_tracking_uri):
        place = Path(model.path)
        with tempfile.TemporaryDirectory(dir=place.parent) as temporary:
            for number, trial in enumerate(read_group(Path(plans.path), group, digest)):
                config = trial_config(Path(plans.path), **trial)
                taken = TrialId(**{name: trial[name] for name in TrialId._fields if name in trial})
                execution = join_execution(config, mlflow_tracking_uri)
                runs = Path(temporary) / f"runs-{number}"
                share_teachers(runs, Path(temporary) / "teachers")
                paths = (Path(store.path), Path(scores.path), Path(plans.path), runs)
                train_stage(
                    config if execution else without_tracking(config),
                    *paths,
                    trials=[taken],
                    execution=execution,
                )
                numbers[taken.path] = take_trial(runs, taken.scheduler, taken.seed, place / taken.path, taken.strategy)
                shutil.rmtree(runs)
    for key, found in numbers.items():
        for name, value in found.items():
            if isinstance(value, (int, float)):
                metrics.log_metric(f"{key} {name}", value)
    # Kubeflow keeps the numbers with the artifact; without a file kfp.local takes it for lost.
    Path(metrics.path).write_text(json.dumps(numbers), encoding="utf-8")
    model.metadata.update(framework="pytorch", trainings=len(numbers))
