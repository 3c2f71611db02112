"""Samples that the epoch shows."""

from bss.metrics.base import TrainingMetric

METRIC = TrainingMetric(
    name="samples",
    history="schedule/samples",
    label="samples",
    better=None,
    unit="",
    compute=lambda trained: trained.samples,
    order=90,
    dvc=False,
    plotted=False,
    mlflow=False,
)
