"""Training loss: the mean over the samples of the epoch, while the network changes."""

from bss.metrics.base import TrainingMetric

METRIC = TrainingMetric(
    name="train_loss",
    history="train/loss",
    label="training loss",
    better="lower",
    compute=lambda trained: trained.loss,
    order=60,
)
