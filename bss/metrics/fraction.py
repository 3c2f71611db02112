"""Fraction: the share of the admitted samples that the pacing opens."""

from bss.metrics.base import TrainingMetric

METRIC = TrainingMetric(
    name="fraction",
    history="schedule/fraction",
    label="open share of the ranking",
    better=None,
    unit="%",
    compute=lambda trained: trained.fraction,
    order=80,
    plotted=False,
)
