"""MMCosine (Xu et al., ICASSP 2023): a fusion of cosines, which no modality can dominate by its length."""

from collections.abc import Collection

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bss.config.fusion import Cosine
from bss.models.fusion_base import Encoders, Features, Fusion, widths_of
from bss.models.shallow_copy import shallow_copy


class CosineFusion(Fusion):
    """The sum over the modalities of the cosines of their features and each class's direction, times a scale.

    Features of zeros have cosine 0, so that a missing modality adds nothing.
    """

    def __init__(self, config: Cosine, encoders: Encoders, classes: int) -> None:
        super().__init__()
        self.scale, self.widths = config.scale, widths_of(encoders)
        self.head = nn.Linear(sum(self.widths.values()), classes, bias=False)

    def forward(self, features: Features) -> Tensor:
        directions = self.head.weight.split(list(self.widths.values()), dim=1)
        parts = [
            F.linear(F.normalize(features[name], dim=1, eps=1e-6), F.normalize(directed, dim=1))
            for name, directed in zip(self.widths, directions, strict=True)
        ]
        return self.scale * torch.stack(parts).sum(dim=0)

    def restricted_to(self, names: Collection[str]) -> "CosineFusion":
        """Return the sum over `names` only."""
        parts = dict(zip(self.widths, self.head.weight.detach().split(list(self.widths.values()), dim=1), strict=True))
        copied = shallow_copy(self)
        copied.widths = {name: width for name, width in self.widths.items() if name in names}
        copied.head = nn.Linear(sum(copied.widths.values()), self.head.out_features, bias=False, device="meta")
        copied.head.weight = nn.Parameter(torch.cat([parts[name] for name in copied.widths], dim=1))
        return copied
