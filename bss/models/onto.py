"""Small arrays on their way to a device."""

from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor


def onto(device: torch.device, array: npt.NDArray[Any]) -> Tensor:
    """Return `array` on `device`; the host does not wait for what a GPU is doing."""
    tensor = torch.from_numpy(array)
    # From ordinary memory the copy would wait for all that was asked of the GPU before.
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)
