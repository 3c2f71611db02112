"""Accuracy, macro-F1 and mean average precision of a network on one split."""

import warnings

import numpy as np
import numpy.typing as npt
import torch

from bss.models.network import MultiModalNetwork
from bss.training.measuring import BATCH
from bss.training.split_data import SplitData


def predict(network: MultiModalNetwork, data: SplitData) -> tuple[npt.NDArray[np.float32], dict[str, npt.NDArray]]:
    """Return the scores [n, classes] behind the prediction, and each modality's predicted class [n]."""
    network.eval()
    scores, unimodal = [], []
    order = np.arange(len(data))
    with torch.no_grad():
        for index in np.array_split(order, -(-len(order) // BATCH)):
            outputs = network(data.batch(index)[0])
            scores.append(network.scores(outputs))
            unimodal.append({name: z.argmax(dim=1) for name, z in outputs.logits.items()})
    predicted = {name: torch.cat([part[name] for part in unimodal]).cpu().numpy() for name in unimodal[0]}
    return torch.cat(scores).float().cpu().numpy(), predicted


def evaluate(network: MultiModalNetwork, data: SplitData, prefix: str) -> dict[str, float]:
    """Return ``<prefix>/acc``, ``f1_macro``, ``map`` and ``acc_<modality>``, all in [0, 1]."""
    scores, unimodal = predict(network, data)
    labels = data.labels.cpu().numpy()
    metrics = {
        "acc": float((scores.argmax(axis=1) == labels).mean()),
        "f1_macro": macro_f1(labels, scores),
        "map": mean_average_precision(labels, scores),
        **{f"acc_{name}": float((predicted == labels).mean()) for name, predicted in unimodal.items()},
    }
    return {f"{prefix}/{name}": value for name, value in metrics.items()}


def macro_f1(labels: npt.NDArray[np.int64], scores: npt.NDArray[np.float32]) -> float:
    """Return the mean F1 over the classes that occur in `labels` [n]; `scores` are [n, classes]."""
    from sklearn.metrics import f1_score

    present = np.unique(labels)
    return float(f1_score(labels, scores.argmax(axis=1), labels=present, average="macro", zero_division=0.0))


def mean_average_precision(labels: npt.NDArray[np.int64], scores: npt.NDArray[np.float32]) -> float:
    """Return the average precision of each class against the rest, the mean over those in `labels` [n].

    `scores` are logits [n, classes]; they are compared after a softmax, across samples of one class.
    """
    from sklearn.metrics import average_precision_score

    present = np.unique(labels)
    probabilities = torch.from_numpy(scores).double().softmax(dim=1).numpy()[:, present]
    truth = labels[:, None] == present[None]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a class without a sample would be one: `present` rules it out
        return float(average_precision_score(truth, probabilities, average="macro"))
