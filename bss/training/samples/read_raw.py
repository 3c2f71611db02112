"""Read stored samples as tensors."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bss.data.sounds import Sounds
from bss.data.store import Store


def read_raw(store: Store, modality: str, rows: npt.NDArray[np.int64], device: torch.device) -> Tensor | Sounds:
    """Return the samples of `modality` at `rows` [k] on `device`, as a network's `transform_one` takes them."""
    found = store.read(modality, rows)
    if isinstance(found, Sounds):
        return Sounds(torch.from_numpy(found.values).to(device), found.lengths)
    return torch.from_numpy(found).to(device)
