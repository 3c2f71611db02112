"""Learning rate of the last step of the epoch."""

from bss.metrics.base import TrainingMetric

METRIC = TrainingMetric.recorded(
    "learning_rate",
    history="learning_rate",
    label="learning rate",
    order=50,
)
