"""Cross-entropy of each modality's head on the watched split."""

from bss.metrics.base import ImbalanceMetric

METRIC = ImbalanceMetric(
    name="head_loss_{modality}",
    label="loss of {modality}",
    better="lower",
    unit="",
    compute=lambda imbalance: imbalance.watched.loss,
    order=250,
    mlflow=False,
)
