"""Training steps of the epoch."""

from bss.metrics.base import TrainingMetric

METRIC = TrainingMetric.recorded(
    "steps",
    history="schedule/steps",
    label="training steps",
    order=100,
    dvc=False,  # curves.csv has their running sum, which plots take as x
    mlflow=False,
)
