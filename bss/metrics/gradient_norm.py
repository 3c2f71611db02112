"""Norm of the gradient of the configured loss in each modality's encoder, on one batch of train."""

from bss.metrics.base import ImbalanceMetric

METRIC = ImbalanceMetric(
    name="gradient_norm_{modality}",
    label="gradient of {modality}",
    unit="",
    compute=lambda imbalance: imbalance.gradient_norms,
    order=280,
)
