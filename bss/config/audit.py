"""The section `audit` of params.yaml."""

from dataclasses import dataclass
from typing import Literal

from bss.balance.checks import require


@dataclass(frozen=True)
class AuditConfig:
    """How `bss audit` finds wrong pairs."""

    enabled: bool = False
    """Whether `dvc repro` and the Kubeflow pipeline audit; the command `bss audit` does in any case."""
    splits: tuple[Literal["train", "val", "test"], ...] = ("train", "val")
    """The splits that are audited. The networks train on train and val alone, whatever is listed."""
    folds: int = 5
    """Parts of train and val, at least 2: each is predicted by a network that trained on the others. A group is never
    split."""
    seeds: tuple[int, ...] = (0, 1)
    """Each divides the samples afresh and trains its own networks; the predictions are averaged."""
    epochs: int = 5
    """Epochs of each network, at least 1; uniform shuffling by the section `train`, without decay."""
    near: float = 0.98
    """Cosine similarity from which two samples are near-duplicates if all modalities reach it, in (0, 1]; 1 finds exact
    copies alone."""
    page: Literal["auto", "file", "folder", "none"] = "auto"
    """How audit.html holds pictures and sounds: in the one `file`, or in a `folder` media next to it, loaded when they
    are shown. auto: in the file if they take at most 24 MiB."""
    page_samples: int = 5000
    """Maximum number of samples in the page, at least 1, the most suspicious first."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(self.folds >= 2, "folds", self.folds, "at least 2")
        seeds_ok = bool(self.seeds) and len(set(self.seeds)) == len(self.seeds) and min(self.seeds) >= 0
        require(seeds_ok, "seeds", list(self.seeds), "one or more different numbers of at least 0")
        splits_ok = bool(self.splits) and len(set(self.splits)) == len(self.splits)
        require(splits_ok, "splits", list(self.splits), "one or more different splits")
        require(self.epochs >= 1, "epochs", self.epochs, "at least 1")
        require(0 < self.near <= 1, "near", self.near, "in (0, 1]")
        require(self.page_samples >= 1, "page_samples", self.page_samples, "at least 1")
