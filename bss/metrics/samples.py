"""Samples that the epoch shows."""

from bss.metrics.base import TrainingMetric

METRIC = TrainingMetric.recorded(
    "samples",
    history="schedule/samples",
    label="samples",
    order=90,
    dvc=False,
    mlflow=False,
)
