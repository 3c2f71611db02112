"""Share of the training samples in which a repairing strategy hides something."""

from bss.metrics.base import TrainingMetric

METRIC = TrainingMetric.recorded(
    "hidden",
    history="train/hidden",
    label="samples with something hidden",
    unit="%",
    optional=True,
    order=107,
    dvc=False,
)
