"""No strategy: training with the configured loss."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from bss.strategies.base import Strategy


@dataclass(frozen=True)
class Plain(Strategy):
    """Training with the loss of network.loss_weights; the reference for all others."""

    kind: Literal["none"] = "none"

    plain: ClassVar[bool] = True


ENTRY = Plain
