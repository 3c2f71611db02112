"""Training steps of the epoch."""

from bss.metrics.base import TrainingMetric

METRIC = TrainingMetric(
    name="steps",
    history="schedule/steps",
    label="training steps",
    better=None,
    unit="",
    compute=lambda trained: trained.steps,
    order=100,
    dvc=False,  # curves.csv has their running sum, which plots take as x
    plotted=False,
    mlflow=False,
)
