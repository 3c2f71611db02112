"""Log a trained network to MLflow as a `mlflow.pyfunc` model, without pickling."""

import json
import re
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy.typing as npt

from bss.config.encoders import FROM_TRANSFORMERS

NAME = "model"
SHOWN_TAGS = ("mlflow.user", "mlflow.source.name", "mlflow.source.type", "mlflow.source.git.commit")
"""Tags of a run that the page of its model shows as well: who logged it, and from what."""


def log_model(client: Any, run_id: str, folder: Path, input_example: dict[str, npt.NDArray[Any]]) -> None:
    """Log the network in `folder` as the run's model, with signature and example.

    Its files are ``model.pt``, ``network.json`` and, for texts with a learned tokenizer, ``<modality>.tokenizer``.

    `input_example` holds stored samples per modality, [2, *shape]. The model's code is a file of this package and
    its weights are read weights-only. A run has one model: logging it again completes an unfinished one.
    Nothing of MLflow's global state is touched, and the network is not built, so that a trial in this process
    is not disturbed.
    """
    from mlflow.entities import LoggedModelOutput, LoggedModelStatus

    run = client.get_run(run_id)
    known = client.search_logged_models([run.info.experiment_id], f"source_run_id = '{run_id}'")
    whole = [model for model in known if model.status == LoggedModelStatus.READY]
    for model in known:
        if model not in whole[:1]:
            client.delete_logged_model(model.model_id)
    if whole:
        model = whole[0]
    else:
        name = re.sub(r"[^\w=-]", "-", run.info.run_name)  # such as bss-l-seed=0; MLflow refuses some signs
        tags = {tag: run.data.tags[tag] for tag in SHOWN_TAGS if tag in run.data.tags}
        model = client.create_logged_model(run.info.experiment_id, name, run_id, tags, run.data.params)
        with tempfile.TemporaryDirectory() as temporary:
            saved = Path(temporary) / NAME
            _save(saved, model, run_id, folder, input_example)
            client.log_model_artifacts(model.model_id, str(saved))
        client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
    outputs = [] if run.outputs is None else run.outputs.model_outputs
    if model.model_id not in {output.model_id for output in outputs}:
        client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
    _link_metrics(client, run, model.model_id)


def _link_metrics(client: Any, run: Any, model_id: str) -> None:
    """Make the final metrics of `run` metrics of its model, on the dataset of the run."""
    from mlflow.entities import Metric

    known = {metric.key for metric in client.get_logged_model(model_id).metrics or []}
    dataset = run.inputs.dataset_inputs[0].dataset if run.inputs.dataset_inputs else None
    name, digest = (None, None) if dataset is None else (dataset.name, dataset.digest)
    keys = [key for key in run.data.metrics if key.startswith(("test_", "val_")) and key not in known]
    # The same values and times as in the run, which keeps one of those that agree.
    metrics = [
        Metric(one.key, one.value, one.timestamp, one.step, model_id, name, digest, run.info.run_id)
        for key in keys
        for one in client.get_metric_history(run.info.run_id, key)
    ]
    if metrics:
        client.log_batch(run.info.run_id, metrics=metrics)


def _save(path: Path, model: Any, run_id: str, folder: Path, input_example: dict[str, npt.NDArray[Any]]) -> None:
    import mlflow.pyfunc
    from mlflow.models import Model, ModelSignature
    from mlflow.types import ColSpec, Schema, TensorSpec

    inputs: list[Any] = [TensorSpec(x.dtype, (-1, *x.shape[1:]), name) for name, x in input_example.items()]
    outputs: list[Any] = [ColSpec("string", "label"), ColSpec("double", "probability")]
    for name in input_example:
        outputs += [ColSpec("string", f"predicted_{name}"), ColSpec("double", f"confidence_{name}")]
    outputs += [ColSpec("double", "similarity")]
    mlflow.pyfunc.save_model(
        path=str(path),
        python_model=str(Path(__file__).with_name("pyfunc_model.py")),
        artifacts={"weights": str(folder / "model.pt"), "network": str(folder / "network.json")}
        | {tokenizer.name: str(tokenizer) for tokenizer in sorted(folder.glob("*.tokenizer"))},
        signature=ModelSignature(Schema(inputs), Schema(outputs)),
        input_example=input_example,
        # Listed here, because inferring them takes MLflow seconds per model.
        pip_requirements=[f"{name}=={version(name).split('+')[0]}" for name in _needed(folder)],
        mlflow_model=Model(
            artifact_path=model.artifact_location, run_id=run_id, model_uuid=model.model_id, model_id=model.model_id
        ),
    )


def _needed(folder: Path) -> list[str]:
    """Return the packages that the network in `folder` needs for prediction."""
    encoders = json.loads((folder / "network.json").read_text(encoding="utf-8"))["network"]["encoders"]
    kinds = {encoder["kind"] for encoder in encoders.values()}
    return ["bss", "numpy", "pandas", "torch"] + (["transformers"] if kinds & set(FROM_TRANSFORMERS) else [])
