"""Confidence on train: the mean probability of the label in each modality's head."""

from bss.metrics.base import ImbalanceMetric

METRIC = ImbalanceMetric(
    name="train_confidence_{modality}",
    label="confidence of {modality} on train",
    better="higher",
    compute=lambda imbalance: imbalance.train.confidence,
    order=240,
)
