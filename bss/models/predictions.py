"""Predictions of a trained network for a batch of samples, as table columns."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from bss.balance.criteria import prediction_similarity
from bss.models.network import MultiModalNetwork


def prediction_columns(
    network: MultiModalNetwork, classes: Sequence[str], raw: Mapping[str, Any]
) -> dict[str, list[Any]]:
    """Return the predictions of `network`, in eval mode, for stored samples (as for `MultiModalNetwork.transform`).

    ``predicted`` is the label and ``probability`` its softmax over the summed logits; per modality m
    ``predicted_m`` is the label of its head and ``confidence_m`` the softmax there; ``agreement`` is the prediction
    similarity of the heads, [0, 1], None with one modality. Numbers are float32.
    """
    with torch.no_grad():
        outputs = network(network.transform(raw))
        labels, probabilities = _best(network.scores(outputs), classes)
        columns: dict[str, list[Any]] = {"predicted": labels, "probability": probabilities}
        for name, logits in outputs.logits.items():
            columns[f"predicted_{name}"], columns[f"confidence_{name}"] = _best(logits, classes)
        if len(outputs.logits) > 1:
            columns["agreement"] = list(prediction_similarity(outputs.logits).cpu().numpy())
        else:
            columns["agreement"] = [None] * len(labels)
    return columns


def _best(logits: torch.Tensor, classes: Sequence[str]) -> tuple[list[str], list[np.float32]]:
    """Return the label with the largest of `logits` [batch, classes], and its probability."""
    index = logits.cpu().numpy().argmax(axis=1)  # on a tie the first, as in evaluation
    probabilities = logits.float().softmax(dim=1).cpu().numpy()
    return [classes[i] for i in index], list(probabilities[np.arange(len(index)), index])
