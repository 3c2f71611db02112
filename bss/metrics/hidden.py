"""Share of the samples of which a strategy that repairs hides something."""

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
