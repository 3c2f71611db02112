"""Idle samples: the share of the training samples to which a modality contributes nothing, or harm."""

from bss.metrics.base import Reading
from bss.metrics.final import ContributionMetric
from bss.metrics.shapley import few

METRIC = ContributionMetric(
    name="idle_{modality}",
    label="samples without a contribution of {modality}",
    better="lower",
    compute=lambda contributed: {name: float((phi <= 0).mean()) for name, phi in contributed.contributions.items()},
    order=320,
    applies=few,
    reading=Reading(
        "idle samples",
        "The share of the training samples whose prediction the modality does not help, or harms.",
    ),
)
