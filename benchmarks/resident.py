"""Batches that lie on the device already, and networks for them without a store."""

from collections.abc import Iterator
from itertools import repeat
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bss.config.load import check_tree, config_to_tree
from bss.config.schema import NetworkConfig
from bss.models.network import MultiModalNetwork, build_network

CLASSES = ("a", "b", "c")


class Resident:
    """Gives one batch of inputs [k, ...] and labels [k] whatever is asked for, in place of `SplitData`."""

    def __init__(self, inputs: dict[str, Tensor], labels: Tensor) -> None:
        self.device, self._batch = labels.device, (inputs, labels)

    def batches(self, indices: list[np.ndarray], *_: Any) -> Iterator[tuple[dict[str, Tensor], Tensor]]:
        """Yield it for each of `indices`."""
        yield from repeat(self._batch, len(indices))


def network_of(tree: dict[str, Any], modalities: dict[str, dict[str, Any]], device: torch.device) -> MultiModalNetwork:
    """Return the network of section `network` of params.yaml for `modalities`, as in a store's header."""
    config = config_to_tree(check_tree(tree, NetworkConfig, "benchmarks"))
    described = {"network": config, "modalities": modalities, "classes": list(CLASSES)}
    return build_network(described, 0, device)


def random_batch(network: MultiModalNetwork, modalities: dict[str, dict[str, Any]], samples: int) -> Resident:
    """Return random stored samples, made into inputs, and random labels."""
    device = next(network.parameters()).device
    random = np.random.default_rng(0)
    raw = {}
    for name, about in modalities.items():
        shape = (samples, *about["shape"])
        whole = {"uint8": 256, "int32": about.get("largest")}.get(about["dtype"])
        values = random.standard_normal(shape) if whole is None else random.integers(1, whole, shape)
        raw[name] = torch.from_numpy(values.astype(about["dtype"])).to(device)
    with torch.no_grad():
        inputs = network.transform(raw)
    return Resident(inputs, torch.from_numpy(random.integers(0, len(CLASSES), samples)).to(device))
