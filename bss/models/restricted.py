"""A trained network without some of its modalities."""

from collections.abc import Collection

import torch
from torch import Tensor, nn

from bss.models.fusion_base import Features, Fusion
from bss.models.network import MultiModalNetwork
from bss.models.shallow_copy import shallow_copy


class UnusedFusion(Fusion):
    """Replaces a fusion that needs all modalities, in a network whose prediction does not use it.

    Its logits are NaN, so that any use is noticed.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes

    def forward(self, features: Features) -> Tensor:
        some = next(iter(features.values()))
        return torch.full((len(some), self.classes), torch.nan, device=some.device)


def restricted(network: MultiModalNetwork, names: Collection[str]) -> MultiModalNetwork | None:
    """Return `network`, sharing its parameters, for the modalities `names` only; None if it needs the others.

    A network whose prediction takes the unimodal heads alone (``network.prediction: unimodal-heads`` and others) takes
    those of `names`. Any other network also needs a fusion that can be restricted: `sum` or `weighted-sum`.
    """
    if not names:
        return None
    if len(names) == len(network.encoders):
        return network
    fusion = network.fusion.restricted_to(names)
    if fusion is None:
        if network.config.prediction not in ("unimodal-heads", "by-entropy"):
            return None
        fusion = UnusedFusion(network.classes)
    copied = shallow_copy(network)
    for parts in ("transforms", "crops", "encoders", "heads"):
        kept = {name: part for name, part in getattr(network, parts).items() if name in names}
        setattr(copied, parts, nn.ModuleDict(kept))
    copied.fusion = fusion
    return copied
