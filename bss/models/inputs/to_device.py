"""Transfer arrays and tensors to a device and back."""

from collections.abc import Callable
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor


def to_device(device: torch.device, array: npt.NDArray[Any]) -> Tensor:
    """Return `array` on `device`, without waiting for the GPU."""
    tensor = torch.from_numpy(array)
    # From pageable memory the copy would wait for all queued GPU work.
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def moved(value: Any, device: torch.device) -> Any:
    """Return `value`, a tensor or a nesting of dicts and lists, with its tensors on `device`."""
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, dict):
        return {key: moved(item, device) for key, item in value.items()}
    if isinstance(value, list):
        return [moved(item, device) for item in value]
    return value


def read_later(tensor: Tensor) -> Callable[[], list[Any]]:
    """Return a function that returns the values of `tensor`, without waiting for GPU work queued later."""
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
