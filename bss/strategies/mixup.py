"""Mixup of features (Zhang et al., ICLR 2018; at hidden layers: Verma et al., ICML 2019): a control."""

from dataclasses import dataclass
from typing import Literal

from bss.balance.checks import require
from bss.strategies.base import Strategy
from bss.strategies.draw import Draw
from bss.strategies.hooks import Context, Mixed, Seen, Setting
from bss.strategies.losses import one_hot


@dataclass(frozen=True)
class Mixup(Strategy):
    """Each sample's features become a mixture with another's, all modalities by one share, and the targets too.

    The pairs are drawn within a part of a batch. Inputs of any kind have features, so it suits tokens too.
    """

    kind: Literal["mixup"] = "mixup"
    steady = True
    alpha: float = 0.2
    """Both parameters of the Beta distribution of the share, one draw per part of a batch; above 0."""

    def __post_init__(self) -> None:
        """Check the range."""
        require(self.alpha > 0, "alpha", self.alpha, "above 0")

    def check(self, setting: Setting) -> None:
        """Require one rank: partners of a sample are on the same one, so pairs would depend on their number."""
        wanted = "1 (nodes x processes) for the strategy mixup, whose pairs lie in one process"
        require(setting.ranks == 1, "train.processes", setting.ranks, wanted)

    def mix(self, context: Context, seen: Seen, draw: Draw) -> Mixed:
        """Return the mixed features and targets."""
        share = float(draw.host("mixup").beta(self.alpha, self.alpha))
        partner = draw.uniform("mixup pairs").argsort()
        features = {name: share * x + (1 - share) * x[partner] for name, x in seen.features.items()}
        targets = one_hot(seen.labels, seen.fused.shape[1])
        targets = share * targets + (1 - share) * targets[partner]
        # A head that may not see one of the two learns nothing from the pair: the target has both labels.
        ignored = None if seen.ignored is None else seen.ignored | seen.ignored[partner]
        return Mixed(features, heads=True, targets=targets, ignored=ignored)


ENTRY = Mixup
