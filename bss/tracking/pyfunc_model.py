"""The model that MLflow loads: maps stored samples to a table of predictions."""

import json
from pathlib import Path
from typing import Any, cast

import mlflow
import numpy as np
import pandas as pd
import torch
from mlflow.pyfunc import PythonModel

from bss.models.network import build_network
from bss.models.predictions import prediction_columns


class MultiModalModel(PythonModel):
    """Predicts from a dict of arrays, one per modality ([batch, *shape]): sounds float32 in [-1, 1], else as stored."""

    def load_context(self, context: Any) -> None:
        """Rebuild the network and load its weights; nothing is unpickled."""
        description = json.loads(Path(context.artifacts["network"]).read_text(encoding="utf-8"))
        self.classes: list[str] = description["classes"]
        self.network = build_network(description)
        self.network.load_state_dict(torch.load(context.artifacts["weights"], weights_only=True, map_location="cpu"))
        self.network.eval()

    def predict(self, context: Any, model_input: np.ndarray, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Return a row per sample: label, its probability, each modality's label and confidence, and their similarity.

        `model_input` is a dict of arrays as the model's signature says. The hint is the one with which
        MLflow does not derive another signature from hints, or warn that it cannot.
        """
        arrays = cast("dict[str, np.ndarray]", model_input)
        raw = {name: torch.as_tensor(x) for name, x in arrays.items()}
        table = pd.DataFrame(prediction_columns(self.network, self.classes, raw))
        table = table.rename(columns={"predicted": "label", "agreement": "similarity"})
        numbers = table.select_dtypes(np.number).columns
        return table.astype(dict.fromkeys(numbers, np.float64))  # the signature's double


mlflow.models.set_model(MultiModalModel())
