"""Small arrays on their way to a device, and back."""

from collections.abc import Callable
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor


def onto(device: torch.device, array: npt.NDArray[Any]) -> Tensor:
    """Return `array` on `device`; the host does not wait for what a GPU is doing."""
    tensor = torch.from_numpy(array)
    # From ordinary memory the copy would wait for all that was asked of the GPU before.
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def read_later(tensor: Tensor) -> Callable[[], list[Any]]:
    """Return a function that gives the values of `tensor`; it waits for nothing that a GPU is asked for after now."""
    if tensor.device.type != "cuda":
        values: list[Any] = tensor.tolist()
        return lambda: values
    copied = torch.cuda.Event()
    room = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    room.copy_(tensor, non_blocking=True)
    copied.record()

    def read() -> list[Any]:
        copied.synchronize()
        found: list[Any] = room.tolist()
        return found

    return read
