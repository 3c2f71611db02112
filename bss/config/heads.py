"""The unimodal heads of params.yaml."""

from dataclasses import dataclass

from bss.balance.checks import require


@dataclass(frozen=True)
class HeadsConfig:
    """What each modality's own logits are made by; some strategies set these keys themselves."""

    shared: bool = False
    """True: one linear layer makes the logits of all modalities; narrower features are projected to the largest
    width before it."""
    hidden: int | None = None
    """Width of a layer with ReLU of each modality before that, at least 1; null: none."""
    branches: int = 1
    """Maximum number of such layers in parallel, whose logits are summed, at least 1. The first is used from the start;
    the strategy aug adds the others one by one."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(self.hidden is None or self.hidden >= 1, "heads.hidden", self.hidden, "null or at least 1")
        require(self.branches >= 1, "heads.branches", self.branches, "at least 1")
        require(self.branches == 1 or self.hidden is not None, "heads.branches", self.branches, "1 without hidden")
