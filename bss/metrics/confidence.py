"""Confidence: the mean probability of the label in each modality's head."""

from bss.metrics.base import ImbalanceMetric, Reading

METRIC = ImbalanceMetric(
    name="confidence_{modality}",
    label="confidence of {modality}",
    better="higher",
    compute=lambda imbalance: imbalance.watched.confidence,
    order=230,
    reading=Reading(
        "confidence",
        "The mean probability that the modality's head gives to the correct label.",
    ),
)
