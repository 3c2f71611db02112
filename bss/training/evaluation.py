"""Accuracy, macro-F1 and mean average precision of a network on one split."""

import numpy as np
import numpy.typing as npt
import torch

from bss.config.schema import EvaluationConfig
from bss.models.network import MultiModalNetwork
from bss.training.distributed.ranks import ALONE, Ranks
from bss.training.measuring import batches_of_all
from bss.training.split_data import SplitData


def predict(
    network: MultiModalNetwork, data: SplitData, ranks: Ranks = ALONE
) -> tuple[npt.NDArray[np.float32], dict[str, npt.NDArray]]:
    """Return the scores [n, classes] behind the prediction, and each modality's predicted class [n].

    The ranks share the work; all of them get the full result, the same as with one rank.
    """
    network.eval()
    scores = torch.zeros(len(data), network.classes, device=data.device)
    predicted = {name: torch.zeros(len(data), dtype=torch.int64, device=data.device) for name in network.heads}
    with torch.no_grad():
        batches = ranks.deal(batches_of_all(data))
        for index, (inputs, _) in zip(batches, data.batches(batches), strict=True):
            outputs = network(inputs)
            where = slice(int(index[0]), int(index[-1]) + 1)
            scores[where] = network.scores(outputs)
            for name, z in outputs.logits.items():
                predicted[name][where] = z.argmax(dim=1)
    for column in (scores, *predicted.values()):
        ranks.add(column)  # each row is zero on all ranks but one
    return scores.cpu().numpy(), {name: column.cpu().numpy() for name, column in predicted.items()}


def evaluate(
    network: MultiModalNetwork,
    data: SplitData,
    prefix: str,
    ranks: Ranks = ALONE,
    averaging: EvaluationConfig | None = None,
) -> dict[str, float]:
    """Return ``<prefix>/acc``, ``f1_macro``, ``map`` and ``acc_<modality>``, all in [0, 1].

    `averaging` selects the classes over which the second and third are averaged; None: those that occur.
    """
    averaging = averaging or EvaluationConfig()
    scores, unimodal = predict(network, data, ranks)
    labels = data.labels.cpu().numpy()
    metrics = {
        "acc": float((scores.argmax(axis=1) == labels).mean()),
        "f1_macro": macro_f1(labels, scores, predicted_too=averaging.f1_over == "present-or-predicted"),
        "map": mean_average_precision(labels, scores, all_classes=averaging.map_over == "all"),
        **{f"acc_{name}": float((predicted == labels).mean()) for name, predicted in unimodal.items()},
    }
    return {f"{prefix}/{name}": value for name, value in metrics.items()}


def macro_f1(labels: npt.NDArray[np.int64], scores: npt.NDArray[np.float32], predicted_too: bool = False) -> float:
    """Return the mean F1 over the classes that occur in `labels` [n]; `scores` are [n, classes].

    With `predicted_too` the mean includes the classes that are only predicted, whose F1 is 0.
    """
    from sklearn.metrics import f1_score

    predicted = scores.argmax(axis=1)
    counted = np.union1d(labels, predicted) if predicted_too else np.unique(labels)
    return float(f1_score(labels, predicted, labels=counted, average="macro", zero_division=0.0))


def mean_average_precision(
    labels: npt.NDArray[np.int64], scores: npt.NDArray[np.float32], all_classes: bool = False
) -> float:
    """Return the average precision of each class against the rest, the mean over those in `labels` [n].

    `scores` are logits [n, classes]; they are compared after a softmax, across samples of one class. With
    `all_classes` the mean is over all classes, and an absent class counts as 0.
    """
    from sklearn.metrics import average_precision_score

    present = np.unique(labels)
    probabilities = torch.from_numpy(scores).double().softmax(dim=1).numpy()[:, present]
    truth = labels[:, None] == present[None]
    mean = float(average_precision_score(truth, probabilities, average="macro"))
    return mean * len(present) / scores.shape[1] if all_classes else mean
