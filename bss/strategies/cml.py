"""CML (Calibrating Multimodal Learning, ICML 2023)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Literal

from bss.balance.checks import require
from bss.lazy_torch import torch
from bss.strategies.base import Method
from bss.strategies.hooks import Context, Objective, Seen, Setting
from bss.strategies.losses import weighted_loss
from bss.strategies.shares import check_source, share_logits


@dataclass(frozen=True)
class Cml(Method):
    """A sample's confidence must not rise when a modality is taken away, and every subset of modalities must classify.

    The logits of a subset are the sum of its modalities' shares of the fused ones: head passes only.
    """

    kind: Literal["cml"] = "cml"
    control = "modality-dropout"
    steady = True
    strength: float = 0.1
    """Weight of the mean rise over the pairs, at least 0."""
    subsets: float = 1.0
    """Weight of the mean cross-entropy of the subsets without one of the modalities, at least 0."""
    pairs: Literal["all", "drawn"] = "all"
    """all: every subset and every one of it without one of its modalities; drawn: those of one order in which
    modalities are taken away, drawn for each part of a batch, as in public code."""
    over: Literal["samples", "batch"] = "samples"
    """samples: rises of each sample (paper); batch: of their mean, in which falls cancel rises (a toolkit's code)."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(self.strength >= 0, "strength", self.strength, "at least 0")
        require(self.subsets >= 0, "subsets", self.subsets, "at least 0")

    def check(self, setting: Setting) -> None:
        """Require a fusion that zeroed features do not upset, and whole batches for their sums."""
        check_source(setting, "share")
        for key, found, right in (
            ("processes", setting.ranks, "1 (nodes x processes)"),
            ("accumulate", setting.accumulate, "1"),
        ):
            ok = self.over == "samples" or found == 1
            require(ok, f"train.{key}", found, f"{right} for cml with over: batch, which adds up whole batches")

    def objectives(self, context: Context, seen: Seen) -> list[Objective]:
        """Return the loss with both terms."""
        loss = weighted_loss(seen, context.weights)
        names, shares = tuple(seen.features), share_logits(seen)
        parts = [subset for size in range(1, len(names)) for subset in combinations(names, size)]
        if self.pairs == "drawn":
            assert context.draw is not None
            order = [names[i] for i in context.draw.host("order").permutation(len(names))]
            parts = [part for part in parts if set(part) == set(order[: len(part)])]
        logits = {subset: torch.stack([shares[name] for name in subset]).sum(dim=0) for subset in parts}
        logits[names] = seen.fused
        sure = {subset: z.softmax(dim=1).amax(dim=1) for subset, z in logits.items()}
        smaller = [(set_, tuple(n for n in set_ if n != name)) for set_ in logits if len(set_) > 1 for name in set_]
        pairs = [(sure[whole], sure[part]) for whole, part in smaller if part in sure]
        rises = torch.stack([rise(whole, part, self.over) for whole, part in pairs]).mean(dim=0)
        entropies = [torch.nn.functional.cross_entropy(logits[part], seen.labels, reduction="none") for part in parts]
        return [Objective(loss + self.strength * rises + self.subsets * torch.stack(entropies).mean(dim=0))]


def rise(whole: torch.Tensor, part: torch.Tensor, over: str) -> torch.Tensor:
    """Return by how much the confidence [batch] of a part is above that of the whole, float [batch]."""
    rises = part - whole
    return rises.clamp_min(0) if over == "samples" else rises.mean().clamp_min(0).expand_as(rises)


ENTRY = Cml
