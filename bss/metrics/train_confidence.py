"""Confidence on train: the mean probability of the label in each modality's head."""

from bss.metrics.base import ImbalanceMetric, Reading

METRIC = ImbalanceMetric(
    name="train_confidence_{modality}",
    label="confidence of {modality} on train",
    better="higher",
    compute=lambda imbalance: imbalance.train.confidence,
    order=240,
    reading=Reading(
        "confidence on train",
        "The same on training samples. Far above that of held-out samples, the head has memorised.",
    ),
)
