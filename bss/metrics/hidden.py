"""Share of the samples of which a strategy that repairs hides something."""

from bss.metrics.base import TrainingMetric

METRIC = TrainingMetric(
    name="hidden",
    history="train/hidden",
    label="samples with something hidden",
    better=None,
    unit="%",
    compute=lambda trained: trained.hidden,
    optional=True,
    order=107,
    dvc=False,
    plotted=False,
)
