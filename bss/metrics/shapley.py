"""Shapley contribution of each modality to the accuracy of the fusion head."""

from bss.metrics.base import ImbalanceMetric, Reading
from bss.metrics.inputs import Imbalance, Task
from bss.strategies.shares import coalitions, shapley

MOST = 5
"""Modalities whose parts are all tried."""


def contributions(imbalance: Imbalance) -> dict[str, float]:
    """Return each modality's share of the accuracy above that of always predicting the most frequent label.

    The value of some modalities is the accuracy of the fused logits with the features of the others zero.
    """
    names, labels = list(imbalance.features), imbalance.labels
    parts = [*coalitions(names), tuple(names)]
    fused = {frozenset(part): imbalance.fused(part) for part in parts}
    value = {part: (z.argmax(dim=1) == labels).double().mean() for part, z in fused.items()}
    value[frozenset()] = labels.bincount().max().double() / len(labels)
    return {name: float(share) for name, share in shapley(names, value).items()}


def few(task: Task) -> bool:
    """Return whether all parts of the modalities can be tried."""
    return len(task.modalities) <= MOST


METRIC = ImbalanceMetric(
    name="shapley_{modality}",
    label="contribution of {modality}",
    compute=contributions,
    order=210,
    applies=few,
    reading=Reading(
        "contribution",
        "The modality's share of what the fusion head gains over always guessing the commonest label. Near 0 "
        "it adds nothing; below 0 it hurts.",
    ),
)
