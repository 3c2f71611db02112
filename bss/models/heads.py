"""The unimodal heads: from a modality's features to its own logits."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from bss.config.heads import HeadsConfig


class Head(nn.Module):
    """A linear layer after one or more layers side by side; the logits of those in use are summed.

    Parameters
    ----------
    branches : each maps features [batch, width] to inputs of `last`; the first `used` are in use.
    last : maps them to logits [batch, classes]; heads may share it.
    in_features : width of the features, under the name that `nn.Linear` has for it.
    """

    taken: Tensor

    def __init__(self, branches: list[nn.Module], last: nn.Linear, in_features: int) -> None:
        super().__init__()
        self.branches, self.last, self.in_features = nn.ModuleList(branches), last, in_features
        self.used = 1
        if len(branches) > 1:
            self.register_buffer("taken", torch.tensor(1))  # `used`, where model.pt and checkpoints keep it

    def forward(self, features: Tensor) -> Tensor:
        return torch.stack(self.each(features)).sum(dim=0) if self.used > 1 else self.each(features)[0]

    def each(self, features: Tensor) -> list[Tensor]:
        """Return the logits of each branch in use, [batch, classes], the oldest first."""
        return [self.last(branch(features)) for branch in list(self.branches)[: self.used]]

    def grow(self) -> None:
        """Take one more branch into use, if there is one."""
        if self.used < len(self.branches):
            self.used += 1
            self.taken.fill_(self.used)

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *args: Any) -> None:
        super()._load_from_state_dict(state_dict, prefix, *args)
        if f"{prefix}taken" in state_dict:
            self.used = int(state_dict[f"{prefix}taken"])


def build_heads(config: HeadsConfig, widths: Mapping[str, int], classes: int) -> nn.ModuleDict:
    """Return the heads of modalities with features of `widths`, freshly initialised."""
    if config == HeadsConfig():
        return nn.ModuleDict({name: nn.Linear(width, classes) for name, width in widths.items()})
    inner = {name: config.hidden or (max(widths.values()) if config.shared else own) for name, own in widths.items()}
    shared = nn.Linear(max(inner.values()), classes) if config.shared else None
    heads = {}
    for name, width in widths.items():
        branches = [_branch(config, width, inner[name]) for _ in range(config.branches)]
        heads[name] = Head(branches, shared or nn.Linear(inner[name], classes), width)
    return nn.ModuleDict(heads)


def last_layer(head: nn.Module) -> nn.Linear:
    """Return the linear layer that makes a head's logits."""
    layer = head.last if isinstance(head, Head) else head
    assert isinstance(layer, nn.Linear)
    return layer


def _branch(config: HeadsConfig, width: int, inner: int) -> nn.Module:
    if config.hidden is not None:
        return nn.Sequential(nn.Linear(width, inner), nn.ReLU())
    return nn.Identity() if width == inner else nn.Linear(width, inner)
