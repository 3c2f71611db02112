"""Logging a trained network to MLflow as a model that `mlflow.pyfunc` loads, with nothing pickled."""

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy.typing as npt

from bss.config.encoders import FROM_TRANSFORMERS


def log_model(client: Any, run_id: str, folder: Path, input_example: dict[str, npt.NDArray[Any]]) -> None:
    """Log ``model.pt`` and ``network.json`` of `folder` as the run's model, with signature and example.

    `input_example` holds stored samples per modality, [2, *shape]. The model's code is a file of this
    package and its weights are read weights-only.
    """
    import mlflow
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema, TensorSpec

    inputs: list[Any] = [TensorSpec(x.dtype, (-1, *x.shape[1:]), name) for name, x in input_example.items()]
    outputs: list[Any] = [ColSpec("string", "label"), ColSpec("double", "probability")]
    outputs += [ColSpec("string", f"predicted_{name}") for name in input_example]
    outputs += [ColSpec("double", "similarity")]
    mlflow.set_tracking_uri(client.tracking_uri)
    with mlflow.start_run(run_id=run_id):
        mlflow.pyfunc.log_model(
            name="model",
            python_model=str(Path(__file__).with_name("pyfunc_model.py")),
            artifacts={"weights": str(folder / "model.pt"), "network": str(folder / "network.json")},
            signature=ModelSignature(Schema(inputs), Schema(outputs)),
            input_example=input_example,
            # Named here because finding them out takes MLflow seconds for every model.
            pip_requirements=[f"{name}=={version(name).split('+')[0]}" for name in _needed(folder)],
        )


def _needed(folder: Path) -> list[str]:
    """Return the packages that the network of `folder` needs to predict."""
    encoders = json.loads((folder / "network.json").read_text(encoding="utf-8"))["network"]["encoders"]
    kinds = {encoder["kind"] for encoder in encoders.values()}
    return ["bss", "numpy", "pandas", "torch"] + (["transformers"] if kinds & set(FROM_TRANSFORMERS) else [])
