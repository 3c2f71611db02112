"""Dependence: how much the fused prediction changes if a modality's features are those of other samples."""

from bss.lazy_torch import torch
from bss.metrics.base import ImbalanceMetric, Reading
from bss.metrics.inputs import Imbalance
from bss.strategies.mcr import dependence

PERMUTATIONS = 8


def _compute(imbalance: Imbalance) -> dict[str, float]:
    count = len(imbalance.labels)
    drawn = torch.from_numpy(imbalance.random.random((PERMUTATIONS, count))).to(imbalance.labels.device)
    orders = drawn.argsort(dim=1)
    return {
        name: float(dependence(imbalance.fuse, imbalance.features, name, orders).mean()) for name in imbalance.features
    }


METRIC = ImbalanceMetric(
    name="dependence_{modality}",
    label="dependence on {modality}",
    unit="",
    compute=_compute,
    order=220,
    reading=Reading(
        "dependence",
        "How much the prediction changes if the modality's features come from other samples. At 0 the network "
        "ignores the modality.",
    ),
)
