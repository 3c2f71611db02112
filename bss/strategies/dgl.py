"""DGL (Boosting Multimodal Learning via Disentangled Gradient Learning, ICCV 2025)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bss.balance.checks import require
from bss.lazy_torch import torch
from bss.strategies.base import Strategy
from bss.strategies.hooks import FUSION, Context, Group, Objective, Seen, Setting, Weights
from bss.strategies.shares import fuse_some


@dataclass(frozen=True)
class Dgl(Strategy):
    """Encoders learn from unimodal losses alone, the fusion head from the fused loss alone: no joint gradient at all.

    The encoders are those of unimodal networks, so it is also the control for what joint training adds.
    """

    kind: Literal["dgl"] = "dgl"
    control = "weights.fused=0.0"
    steady = True
    alpha: float = 4.0
    """Weight of the unimodal losses, above 0; the authors take 4 or 5 on CREMA-D, 2 to 3 on Kinetics-Sounds."""
    through: Literal["shared", "heads"] = "shared"
    """Where unimodal logits come from: the fusion head with the other features zero (paper), which they do not train,
    or the unimodal heads, which they do."""

    def __post_init__(self) -> None:
        """Check the range."""
        require(self.alpha > 0, "alpha", self.alpha, "above 0")

    def check(self, setting: Setting) -> None:
        """Require a fusion that zeroed features do not upset."""
        ok = self.through == "heads" or setting.fusion != "channel-exchange"
        wanted = "another than channel-exchange, whose batch normalisation zeroed features would upset"
        require(ok, "network.fusion.kind", setting.fusion, wanted)

    def weights(self, setting: Setting) -> Weights:
        """Return the weights of the losses; through the shared head the unimodal heads are not trained."""
        return Weights(1.0, dict.fromkeys(setting.modalities, self.alpha) if self.through == "heads" else {})

    def objectives(self, context: Context, seen: Seen) -> list[Objective]:
        """Return both losses, each with what it trains."""
        names = context.setting.modalities
        encoders: tuple[Group, ...] = tuple(("encoder", name) for name in names)
        heads: tuple[Group, ...] = tuple(("head", name) for name in names) if self.through == "heads" else ()
        logits = seen.logits if heads else {name: fuse_some(seen, (name,)) for name in names}
        alone = torch.stack(
            [torch.nn.functional.cross_entropy(z, seen.labels, reduction="none") for z in logits.values()]
        ).sum(dim=0)
        fused = seen.fuse({name: x.detach() for name, x in seen.features.items()})
        return [
            Objective(torch.nn.functional.cross_entropy(fused, seen.labels, reduction="none"), updates=(FUSION,)),
            Objective(self.alpha * alone, updates=(*encoders, *heads)),
        ]


ENTRY = Dgl
