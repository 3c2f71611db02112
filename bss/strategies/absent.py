"""What takes the place of the features of a modality that a sample does not show: zeros, or their running mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from bss.lazy_torch import torch
from bss.strategies.hooks import ALL, Context, Group, Mixed, Seen, Setting, State

Absent = Literal["zero", "mean"]
"""zero: what a rectifier makes of an input that is missing; mean: for encoders whose features are signed, such as BERT
and ViT, whose zero is a value like any other."""

MOMENTUM = 0.1
"""Weight of a part's mean in the running one, as in batch normalisation."""


def start_means(absent: Absent, setting: Setting, modules: Mapping[Group, torch.nn.Module]) -> State:
    """Return the state that `running_means` changes; none is needed for zeros."""
    if absent == "zero":
        return {}
    heads: dict[str, Any] = {name: modules["head", name] for name in setting.modalities}
    means = {name: torch.zeros(head.in_features) for name, head in heads.items()}
    return {"absent": means, "known": torch.zeros(len(means))}


def known_means(context: Context) -> dict[str, torch.Tensor]:
    """Return the running means [width] as they are, by modality; zeros before the first sample."""
    known = context.state["known"].clamp_min(MOMENTUM)
    return {name: mean / known[place] for place, (name, mean) in enumerate(context.state["absent"].items())}


def means_for_hidden(context: Context, seen: Seen) -> Mixed | None:
    """Return the features for the fusion head with running means where a sample does not show them, if any does not."""
    every = torch.ones_like(seen.labels, dtype=torch.bool)
    numbers = dict(zip(seen.features, range(len(seen.features)), strict=True))
    shown = {
        name: every if seen.kept is None else (seen.kept == ALL) | (seen.kept == number)
        for name, number in numbers.items()
    }
    means = running_means(context, seen, shown)
    if seen.kept is None:
        return None
    return Mixed({n: torch.where(shown[n][:, None], x, means[n]) for n, x in seen.features.items()}, heads=False)


def running_means(context: Context, seen: Seen, shown: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the running mean [width] of each modality's features in `seen`, these included.

    `shown` bool [batch] are the samples that show the modality; those from which a decision hides it do not count. A
    modality that no sample shows keeps its mean, which is zero before the first. Each mean is over its weights' sum,
    so that the first ones count in full.
    """
    masks = {name: mask.to(torch.float32)[:, None] for name, mask in shown.items()}
    if seen.ignored is not None:
        masks = {name: mask * ~seen.ignored[:, place, None] for place, (name, mask) in enumerate(masks.items())}
    sums = [(seen.features[name].detach() * mask).sum(dim=0) for name, mask in masks.items()]
    counts = torch.stack([mask.sum() for mask in masks.values()])
    total = context.total(torch.cat([*sums, counts]))
    *parts, counts = total.split([*(len(x) for x in sums), len(sums)])
    state = context.state
    known = torch.where(counts > 0, (1 - MOMENTUM) * state["known"] + MOMENTUM, state["known"])
    for place, (name, part) in enumerate(zip(masks, parts, strict=True)):
        old, count = state["absent"][name], counts[place]
        moved = (1 - MOMENTUM) * old + MOMENTUM * part / count.clamp_min(1)
        state["absent"][name] = torch.where(count > 0, moved, old)
    state["known"] = known
    return known_means(context)
