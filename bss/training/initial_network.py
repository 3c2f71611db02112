"""The network of a trial before its first step."""

import functools
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from bss.config import Config
from bss.data.store import Store
from bss.errors import BssError
from bss.models.network import MultiModalNetwork, build_network, describe_network, zeros_like_stored
from bss.models.pretrained import load_pretrained
from bss.training.check_encoders import check_encoders

CACHED_IN_TRANSFORMERS = r"Dynamo detected a call to a `functools\.lru_cache`-wrapped function at 'fsdp\.py"
"""A warning of the compiler about code that only asks what torch was built with, which never changes."""

Call = TypeVar("Call", bound=Callable[..., Any])


def initial_network(config: Config, store: Store, seed: int, device: torch.device) -> MultiModalNetwork:
    """Return the network of `config`, freshly initialised or with pretrained weights, in train.precision.

    Raises `BssError` if this network on this device does not support that precision, or an encoder from outside cannot
    be trained.
    """
    network = build_network(describe_network(config.network, store), seed, device)
    load_pretrained(network, config.network)
    network.precision = config.train.precision
    check_encoders(network, config, store)
    if network.precision == "bf16" and device.type == "cpu":
        _check_strides(network, store)
    return network


def _check_strides(network: MultiModalNetwork, store: Store) -> None:
    """Raise `BssError` if a convolution has a stride over maps of one pixel.

    In 16 bits on CPU torch does not write the gradients of weights that only see padding: they are undefined,
    possibly NaN.
    """
    found: list[str] = []

    def look(name: str, layer: nn.Conv2d, arguments: tuple[Tensor]) -> None:
        sides = zip(arguments[0].shape[2:], layer.kernel_size, layer.stride, strict=True)
        if any(size == 1 and kernel > 1 and stride > 1 for size, kernel, stride in sides):
            found.append(name)

    layers = {name: layer for name, layer in network.named_modules() if isinstance(layer, nn.Conv2d)}
    hooks = [layer.register_forward_pre_hook(functools.partial(look, name)) for name, layer in layers.items()]
    network.eval()
    with torch.no_grad():
        network(network.transform({name: zeros_like_stored(m) for name, m in store.modalities.items()}))
    network.train()
    for hook in hooks:
        hook.remove()
    if found:
        raise BssError(
            f"params.yaml: train.precision: bf16 on a CPU cannot train {found[0]}, a convolution with a stride over "
            "maps of one pixel: parts of its gradient are undefined. Set it to fp32, or give it larger inputs."
        )


def compiled(network: Call, device: torch.device) -> Call:
    """Return a network or its method compiled for training steps; torch.compile runs in the first steps.

    Raises `BssError` if this machine cannot compile.
    """
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True, warn_only=warn_only)  # also applies to the compiler
    try:
        torch.compile(lambda x: x.sin() + 1)(torch.ones(2, device=device))
    except Exception as error:  # compilers fail in many ways
        why = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise BssError(
            f"params.yaml: train.compile: torch.compile does not work on this machine ({why[:200]}). Install a C++ "
            "compiler (g++), or set it to false."
        ) from error
    warnings.filterwarnings("ignore", CACHED_IN_TRANSFORMERS)
    made: Call = torch.compile(network)  # type: ignore[assignment]
    return made
