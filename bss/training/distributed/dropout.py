"""Dropout draws: they depend only on seed, purpose, epoch, step and position in the global batch."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from bss.balance.draw import generator
from bss.models.encoders.pretrained_model import PretrainedModel
from bss.models.encoders.python_module import PythonModule
from bss.training.distributed.ranks import Ranks


@contextmanager
def dropout_of(seed: int, purpose: str, epoch: int) -> Iterator[Callable[[int], None]]:
    """Yield a function that seeds torch's generators for a step; always restore them after the block.

    Draws of earlier steps, of other trials in this process or in other workers have no influence.
    """
    devices = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []
    # For GPUs that are not in use torch.manual_seed would format the stack, to seed them later.
    seed_torch = torch.manual_seed if devices else torch.default_generator.manual_seed

    def seed_step(step: int) -> None:
        # The 0 keeps earlier results reproducible.
        draw = generator(seed, f"dropout {purpose} {step} 0", epoch)
        seed_torch(int(draw.integers(2**63)))

    with torch.random.fork_rng(devices=devices):
        yield seed_step


def dropout_over(network: nn.Module, ranks: Ranks) -> Callable[[int], AbstractContextManager[Any]]:
    """Return a function that maps a global batch size to the context for a rank's forward pass.

    In it, dropout draws what it would draw for the whole batch on one rank. Encoders from outside may call torch's
    function without a module of dropout.
    """
    if ranks.count == 1 or not any(map(_may_drop, network.modules())):
        return lambda size: nullcontext()
    return lambda size: _GlobalDropout(size, ranks)


def _may_drop(module: nn.Module) -> bool:
    return isinstance(module, PretrainedModel | PythonModule) or (isinstance(module, nn.Dropout) and module.p > 0)


class _GlobalDropout(TorchFunctionMode):
    """Every rank draws for all `size` samples from the same seed, and keeps the draws of its share.

    Inputs of dropout are [share, ...], or [share * k, ...] with k rows per sample, such as its frames.
    """

    def __init__(self, size: int, ranks: Ranks) -> None:
        super().__init__()
        self.size, self.ranks = size, ranks

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return (self._drop if function is F.dropout else function)(*args, **(kwargs or {}))

    def _drop(self, inputs: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
        share = len(range(self.ranks.rank, self.size, self.ranks.count))
        if not training or p == 0 or share == 0:  # an empty share keeps nothing
            return F.dropout(inputs, p, training)
        rows = inputs.shape[0] // share
        drawn = F.dropout(_ones_laid_out_like(inputs, self.size * rows), p)
        mine = drawn.unflatten(0, (self.size, rows))[self.ranks.rank :: self.ranks.count].flatten(0, 1)
        return torch.where(mine != 0, inputs / (1 - p), torch.zeros_like(inputs))


def _ones_laid_out_like(inputs: Tensor, rows: int) -> Tensor:
    """Return ones [rows, ...] with the dimensions of `inputs` in their order in memory, in which dropout draws."""
    shape = (rows, *inputs.shape[1:])
    if inputs.is_contiguous():
        return inputs.new_ones(shape)
    strides = inputs.stride()
    order = sorted(range(inputs.dim()), key=lambda dimension: -strides[dimension])
    return inputs.new_ones([shape[d] for d in order]).permute([order.index(d) for d in range(len(order))])
