"""Try a module from outside on two samples: what it returns, and which of its parameters take part."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from bss.errors import BssError, first_line


def probe(module: nn.Module, encode: Callable[[Tensor], Tensor], sample: Tensor, key: str) -> int:
    """Return the width of ``encode(batch)``, float32 [batch, width], for two samples like `sample`, without the batch.

    Parameters of `module` that get no gradient are frozen: they change nothing, and training on several ranks waits
    for the gradient of every trained parameter. Buffers and gradients are as before. Raises `BssError`, which names
    `key`, if it fails or returns anything else.
    """
    batch = torch.stack([torch.zeros_like(sample), torch.zeros_like(sample)])
    mode = module.training
    module.train()
    try:
        with kept_buffers(module), torch.enable_grad():
            found = encode(batch)
    except Exception as error:  # the module's own code
        raise BssError(
            f"{key}: cannot take inputs of shape {[2, *sample.shape]}, {sample.dtype}: {first_line(error)}"
        ) from error
    require_features(found, 2, key)
    if found.requires_grad:
        found.sum().backward()
    for parameter in module.parameters():
        if parameter.grad is None:
            parameter.requires_grad_(False)
        parameter.grad = None
    module.train(mode)
    return found.shape[1]


@contextmanager
def kept_buffers(module: nn.Module) -> Iterator[None]:
    """Give the buffers of `module` their values back after the block."""
    before = {name: buffer.clone() for name, buffer in module.named_buffers()}
    yield
    for name, buffer in module.named_buffers():
        if name in before:
            buffer.data.copy_(before[name])


def require_features(found: object, count: int, key: str) -> None:
    """Raise `BssError`, which names `key`, unless `found` is a float32 tensor [count, width]."""
    if not isinstance(found, Tensor):
        raise BssError(f"{key}: returns {type(found).__name__}; it must return a tensor [batch, width].")
    if found.dim() != 2 or found.shape[0] != count or found.dtype != torch.float32:
        raise BssError(
            f"{key}: returns {str(found.dtype).removeprefix('torch.')} {list(found.shape)} for a batch of {count}; it "
            f"must return float32 [{count}, width]."
        )
