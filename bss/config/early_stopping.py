"""When a trial ends before its last epoch: `train.early_stopping`."""

from collections.abc import Iterable
from dataclasses import dataclass

from bss.balance.checks import require


@dataclass(frozen=True)
class EarlyStopping:
    """A trial ends if its accuracy on val has not risen for a while."""

    patience: int
    """Epochs in a row without a rise after which it ends, at least 1."""
    min_delta: float = 0.0
    """Points of accuracy by which an epoch must exceed the best one before it to count as a rise, at least 0."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(self.patience >= 1, "patience", self.patience, "at least 1")
        require(self.min_delta >= 0, "min_delta", self.min_delta, "at least 0")

    def stops(self, accuracies: Iterable[float]) -> bool:
        """Return whether a trial whose epochs had these `accuracies` on val, in [0, 1], ends after the last."""
        best, waited = float("-inf"), 0
        for accuracy in accuracies:
            rises = accuracy > best + self.min_delta / 100
            best, waited = (accuracy, 0) if rises else (best, waited + 1)
        return waited >= self.patience
