"""Norm of the gradient of the configured loss in each modality's encoder, on one batch of train."""

from bss.metrics.base import ImbalanceMetric, Reading

METRIC = ImbalanceMetric(
    name="gradient_norm_{modality}",
    label="gradient of {modality}",
    unit="",
    compute=lambda imbalance: imbalance.gradient_norms,
    order=280,
    reading=Reading(
        "gradient norm",
        "How strongly the loss pulls at the modality's encoder. An encoder with a much smaller one than the "
        "others hardly learns any more.",
    ),
)
