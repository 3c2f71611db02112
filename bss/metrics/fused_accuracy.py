"""Accuracy of the fusion head on each modality alone, which papers often call the modality's accuracy."""

from bss.metrics.base import ImbalanceMetric, Reading
from bss.metrics.inputs import Imbalance
from bss.strategies.shares import share_of


def _compute(imbalance: Imbalance) -> dict[str, float]:
    shares = share_of(imbalance.features, imbalance.fused)
    return {name: float((z.argmax(dim=1) == imbalance.labels).float().mean()) for name, z in shares.items()}


METRIC = ImbalanceMetric(
    name="fused_acc_{modality}",
    label="{modality} through the fusion head",
    better="higher",
    compute=_compute,
    order=200,
    reading=Reading(
        "accuracy through the fusion head",
        "How often the fusion head is right if it sees this modality alone. Papers often mean this by a "
        "modality's accuracy.",
    ),
)
