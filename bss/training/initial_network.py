"""The network of a training, as it is before its first step."""

import torch
from torch import nn

from bss.config import Config
from bss.data.store import Store
from bss.errors import BssError
from bss.models.network import MultiModalNetwork, build_network, describe_network
from bss.models.pretrained import load_pretrained


def initial_network(config: Config, store: Store, seed: int, device: torch.device) -> MultiModalNetwork:
    """Return the network of `config`, freshly initialised or with pretrained weights, in train.precision."""
    network = build_network(describe_network(config.network, store), seed, device)
    load_pretrained(network, config.network)
    network.precision = config.train.precision
    return network


def compiled(network: nn.Module, device: torch.device) -> nn.Module:
    """Return what training steps call in place of `network`: code that torch.compile makes, in the first steps.

    Raises `BssError` where this machine cannot compile.
    """
    torch.use_deterministic_algorithms(True)  # tells the compiler too
    try:
        torch.compile(lambda x: x.sin() + 1)(torch.ones(2, device=device))
    except Exception as error:  # compilers fail in many ways
        why = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise BssError(
            f"params.yaml: train.compile: torch.compile does not work on this machine ({why[:200]}). Install a C++ "
            "compiler (g++), or set it to false."
        ) from error
    module: nn.Module = torch.compile(network)  # type: ignore[assignment]
    return module
