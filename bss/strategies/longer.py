"""Plain training for more epochs: the control at equal compute."""

from dataclasses import dataclass
from math import ceil
from typing import ClassVar, Literal

from bss.balance.checks import require
from bss.strategies.base import Strategy


@dataclass(frozen=True)
class Longer(Strategy):
    """Plain training that spends the extra operations of a costlier strategy on more epochs.

    Its steps are those of plain training. Decays of the learning rate come later in proportion, the schedule's pacing
    keeps its epochs, and the checkpoint is selected as in any other trial.
    """

    kind: Literal["longer"] = "longer"
    times: float = 2.0
    """Epochs as a multiple of train.epochs, above 1, rounded up to a whole epoch: how many times the floating-point
    operations of plain training the strategy takes, as in the report's table of costs."""

    plain: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Check the range."""
        require(self.times > 1, "times", self.times, "above 1")

    def total_epochs(self, configured: int) -> int:
        """Return the multiple of `configured`."""
        return ceil(round(self.times * configured, 6))  # 1.1 * 10 is 11.000000000000002


ENTRY = Longer
