"""Settings with which the same seed gives the same bits."""

import os
from typing import Literal

import torch

from bss.config import Config
from bss.errors import BssError


def make_reproducible(deterministic: Literal["error", "warn"] = "error") -> None:
    """Make this process deterministic: one thread per trial on CPU, deterministic kernels on GPU.

    `deterministic` applies to operations without one: raise torch's error, or warn. Call this before
    anything is computed on a GPU, because cuBLAS reads its variable only once.

    Sums split over threads depend on the number of threads; so a trial uses one thread,
    and several trials run concurrently.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(1)
    # torch.use_deterministic_algorithms does the same, and imports torch's compiler, which takes a second.
    torch.set_deterministic_debug_mode(deterministic)
    torch.backends.cudnn.benchmark = False
    # Nothing here reads memory before writing it; filling it first costs every operation a pass.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def resolve_device(name: str) -> torch.device:
    """Return the device for resources.device: auto uses a GPU if there is one.

    Raises `BssError` if a GPU is requested and there is none.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    elif name == "cuda" and not torch.cuda.is_available():
        raise BssError("params.yaml: resources.device: torch finds no usable GPU. Set it to auto or cpu.")
    return torch.device(name)


def describe_device(device: torch.device) -> str:
    """Return the property of `device` that determines a result's last bits: GPU model, or CPU instruction set."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type}, {torch.backends.cpu.get_cpu_capability()}"


def device_type(config: Config) -> str:
    """Return cpu or cuda: the device type of a trial of `config`, on all its nodes.

    Raises `BssError` if this machine cannot know it, or a requested GPU is missing.
    """
    device = config.resources.device
    if config.train.nodes == 1:
        return resolve_device(device).type
    if device == "auto":
        raise BssError(
            "params.yaml: resources.device: auto looks at this machine, but train.nodes is "
            f"{config.train.nodes} and other machines train. Set it to cpu or cuda."
        )
    return device
