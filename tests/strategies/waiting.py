"""What would wait for a GPU, found on the CPU: calls that read values on the host, and kernels that do so inside."""

import contextlib

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

READING = {
    "item",
    "tolist",
    "numpy",
    "cpu",
    "__array__",
    "__bool__",
    "__int__",
    "__float__",
    "__index__",
    "__contains__",
}
"""Methods of a tensor that need its values on the host."""
COPYING = {"tensor", "as_tensor", "asarray"}
"""Functions that wait for the copy if they are told a device."""
KERNELS = {
    *(
        "_local_scalar_dense",
        "nonzero",
        "nonzero_numpy",
        "masked_select",
        "equal",
        "is_nonzero",
        "bincount",
        "multinomial",
    ),
    *("_unique", "_unique2", "unique_dim", "unique_consecutive", "linalg_inv_ex", "linalg_svd", "_linalg_svd"),
}
"""Operations whose kernels for GPUs wait: the shape of what they return, or a check, depends on values."""
MASKS = (torch.bool, torch.uint8)


def _is_mask(index):
    return isinstance(index, torch.Tensor) and index.dtype in MASKS


class Calls(TorchFunctionMode):
    """Adds to `found` the calls of Python that wait, if `active()`."""

    def __init__(self, found, active):
        super().__init__()
        self.found, self.active = found, active

    def __torch_function__(self, function, types, arguments=(), keywords=None):
        name, keywords = getattr(function, "__name__", ""), keywords or {}
        moved = name == "to" and "cpu" in (*arguments[1:], keywords.get("device"))
        copied = name in COPYING and keywords.get("device") is not None
        if self.active() and (name in READING or moved or copied):
            self.found.append(name)
        return function(*arguments, **keywords)


class Operations(TorchDispatchMode):
    """Adds to `found` the operations that wait, if `active()`."""

    def __init__(self, found, active):
        super().__init__()
        self.found, self.active = found, active

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        name, keywords = function.overloadpacket.__name__, keywords or {}
        waits = name in KERNELS
        if name == "index":
            waits = any(_is_mask(index) for index in arguments[1])
        elif name in ("index_put", "index_put_"):  # one value is filled in without looking for places
            waits = any(_is_mask(index) for index in arguments[1]) and arguments[2].numel() > 1
        elif name == "repeat_interleave":
            waits = keywords.get("output_size") is None
        elif name == "normal":  # checks a tensor of deviations
            waits = isinstance(arguments[1], torch.Tensor) if len(arguments) > 1 else False
        if self.active() and waits:
            self.found.append(name)
        return function(*arguments, **keywords)


@contextlib.contextmanager
def waiting(active=lambda: True):
    """Return a list to which the names of what would wait for a GPU are added, in the block, while `active()`."""
    found = []
    with Calls(found, active), Operations(found, active):
        yield found
