"""Fraction: the share of the admitted samples that the pacing opens."""

from bss.metrics.base import TrainingMetric

METRIC = TrainingMetric.recorded(
    "fraction",
    history="schedule/fraction",
    label="open share of the ranking",
    unit="%",
    order=80,
)
