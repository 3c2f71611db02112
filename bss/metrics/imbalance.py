"""Imbalance: how far the modalities' contributions to the accuracy lie apart."""

from bss.metrics.base import ImbalanceMetric, Reading
from bss.metrics.inputs import Imbalance
from bss.metrics.shapley import contributions, few


def _compute(imbalance: Imbalance) -> float:
    found = contributions(imbalance).values()
    return max(found) - min(found)


METRIC = ImbalanceMetric(
    name="imbalance",
    history="imbalance/contributions_apart",
    label="contributions apart",
    compute=_compute,
    order=215,
    applies=few,
    reading=Reading(
        "contributions apart",
        "The highest contribution minus the lowest. At 0 all modalities contribute alike; the higher, the "
        "more one of them decides alone.",
    ),
)
