"""The model that MLflow loads: stored samples in, a table of predictions out."""

import json
from pathlib import Path
from typing import Any, cast

import mlflow
import numpy as np
import pandas as pd
import torch
from mlflow.pyfunc import PythonModel

from bss.balance.criteria import prediction_similarity
from bss.models.network import build_network


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
        """Return a row per sample: label, its probability, each modality's label, and their similarity.

        `model_input` is a dict of arrays as the model's signature says. The hint is the one with which
        MLflow does not derive another signature from hints, or warn that it cannot.
        """
        arrays = cast("dict[str, np.ndarray]", model_input)
        raw = {name: torch.as_tensor(x) for name, x in arrays.items()}
        with torch.no_grad():
            outputs = self.network(self.network.transform(raw))
            probabilities = self.network.scores(outputs).softmax(dim=1)
        best = probabilities.max(dim=1)
        columns: dict[str, Any] = {
            "label": self._names(best.indices),
            "probability": best.values.double().numpy(),
        }
        for name, logits in outputs.logits.items():
            columns[f"predicted_{name}"] = self._names(logits.argmax(dim=1))
        columns["similarity"] = prediction_similarity(outputs.logits).double().numpy()
        return pd.DataFrame(columns)

    def _names(self, indices: torch.Tensor) -> list[str]:
        return [self.classes[index] for index in indices.tolist()]


mlflow.models.set_model(MultiModalModel())
