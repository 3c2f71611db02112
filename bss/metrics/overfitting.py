"""Overfitting-to-generalisation ratio of each modality's head between two measurements (Wang et al., CVPR 2020)."""

from bss.metrics.base import ImbalanceMetric, Reading
from bss.metrics.inputs import Imbalance

LEAST = 1e-4
"""Change of the watched loss below which the ratio says nothing."""


def _compute(imbalance: Imbalance) -> dict[str, float | None]:
    if imbalance.before is None:
        return dict.fromkeys(imbalance.features)
    train, watched = imbalance.before
    return {
        name: ratio((train.loss[name], watched.loss[name]), (imbalance.train.loss[name], imbalance.watched.loss[name]))
        for name in imbalance.features
    }


def ratio(before: tuple[float, float], now: tuple[float, float]) -> float | None:
    """Return |dO / G| of the losses (train, watched) at two times: how much more a head overfits per gain.

    G is the fall of the watched loss; O is the watched less the train loss. None if G is nearly 0.
    """
    gain = before[1] - now[1]
    change = (now[1] - now[0]) - (before[1] - before[0])
    return None if abs(gain) < LEAST else abs(change / gain)


METRIC = ImbalanceMetric(
    name="overfitting_{modality}",
    label="overfitting per gain of {modality}",
    better="lower",
    unit="",
    compute=_compute,
    order=270,
    reading=Reading(
        "overfitting per gain",
        "How much the distance between held-out and training loss has changed per change of the held-out loss "
        "since the measurement before. Above 1 the head overfits faster than it learns.",
    ),
)
