"""Learning rate of the epoch."""

from bss.metrics.base import TrainingMetric

METRIC = TrainingMetric(
    name="learning_rate",
    history="learning_rate",
    label="learning rate",
    better=None,
    unit="",
    compute=lambda trained: trained.learning_rate,
    order=50,
    plotted=False,
)
