"""Cross-entropy of each modality's head on train, in eval mode."""

from bss.metrics.base import ImbalanceMetric

METRIC = ImbalanceMetric(
    name="train_head_loss_{modality}",
    label="loss of {modality} on train",
    better="lower",
    unit="",
    compute=lambda imbalance: imbalance.train.loss,
    order=260,
    mlflow=False,
)
