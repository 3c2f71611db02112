"""The parts of a network that strategies name, their parameters and their gradients."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from bss.models.heads import Head
from bss.models.network import MultiModalNetwork
from bss.strategies import Group
from bss.strategies.hooks import FUSION


def modules_of(network: MultiModalNetwork) -> dict[Group, nn.Module]:
    """Return the network's encoders and heads, by modality, and its fusion head."""
    found = dict[Group, nn.Module]()
    found |= {("encoder", name): module for name, module in network.encoders.items()}
    found |= {("head", name): module for name, module in network.heads.items()}
    return found | {FUSION: network.fusion}


def parameter_groups(network: MultiModalNetwork) -> list[dict[str, Any]]:
    """Return torch's parameter groups: one per part of the network, with its modality.

    What several parts share belongs to no modality. Branches of heads are groups of their own: torch's fused SGD
    wants the parameters of a group to get their first gradients in one step.
    """
    modules = modules_of(network)
    owners = Counter(p for part in modules.values() for p in part.parameters())
    found = [{"params": [p for p, count in owners.items() if count > 1], "modality": ""}]
    for (_, name), part in modules.items():
        for piece in part.branches if isinstance(part, Head) else [part]:
            found.append({"params": list(piece.parameters()), "modality": name})
        if isinstance(part, Head):
            found.append({"params": [p for p in part.last.parameters() if owners[p] == 1], "modality": name})
    return [group for group in found if group["params"]]


def gradients_by_group(
    loss: Tensor, modules: Mapping[Group, nn.Module], groups: Iterable[Group] | None
) -> dict[Group, list[Tensor]]:
    """Return the gradients of `loss` by group (None: all), zeros for parameters that it does not depend on."""
    trained = {group: _trained(modules[group]) for group in (modules if groups is None else groups)}
    flat = [p for parameters in trained.values() for p in parameters]
    found = iter(torch.autograd.grad(loss, flat, retain_graph=True, materialize_grads=True, allow_unused=True))
    return {group: [next(found) for _ in parameters] for group, parameters in trained.items()}


def add_gradients(loss: Tensor, modules: Mapping[Group, nn.Module], groups: Iterable[Group]) -> None:
    """Add the gradients of `loss` to those of `groups`' parameters, and to no others."""
    for group, gradients in gradients_by_group(loss, modules, groups).items():
        for parameter, gradient in zip(_trained(modules[group]), gradients, strict=True):
            parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient


def _trained(module: nn.Module) -> list[nn.Parameter]:
    return [p for p in module.parameters() if p.requires_grad]
