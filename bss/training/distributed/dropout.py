"""What dropout draws: a function of seed, purpose, epoch, step and place in the global batch alone."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from bss.balance.draw import generator
from bss.training.distributed.ranks import Ranks


@contextmanager
def dropout_of(seed: int, purpose: str, epoch: int) -> Iterator[Callable[[int], None]]:
    """Give a function that seeds torch's generators for a step; restore them where the block ends, however it ends.

    What an earlier step, another training in this process or the order of workers has drawn changes nothing.
    """
    devices = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []

    def seed_step(step: int) -> None:
        # The 0 is there for the sake of the results that were made with it.
        draw = generator(seed, f"dropout {purpose} {step} 0", epoch)
        torch.manual_seed(int(draw.integers(2**63)))

    with torch.random.fork_rng(devices=devices):
        yield seed_step


def dropout_over(network: nn.Module, ranks: Ranks) -> Callable[[int], AbstractContextManager[Any]]:
    """Return a function of a global batch's size that gives the context in which a rank passes its share on.

    There dropout draws what it would draw for the whole batch on one rank.
    """
    if ranks.count == 1 or not any(isinstance(m, nn.Dropout) and m.p > 0 for m in network.modules()):
        return lambda size: nullcontext()
    return lambda size: _GlobalDropout(size, ranks)


class _GlobalDropout(TorchFunctionMode):
    """Every rank draws for all `size` samples, from the same seed, and keeps what is its share's.

    Inputs of dropout are [share, ...], or [share * k, ...] with k rows per sample, such as its frames.
    """

    def __init__(self, size: int, ranks: Ranks) -> None:
        super().__init__()
        self.size, self.ranks = size, ranks

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return (self._drop if function is F.dropout else function)(*args, **(kwargs or {}))

    def _drop(self, inputs: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
        share = len(range(self.ranks.rank, self.size, self.ranks.count))
        if not training or p == 0 or share == 0:  # of an empty share nothing is kept
            return F.dropout(inputs, p, training)
        rows = inputs.shape[0] // share
        drawn = F.dropout(inputs.new_ones(self.size * rows, *inputs.shape[1:]), p)
        mine = drawn.unflatten(0, (self.size, rows))[self.ranks.rank :: self.ranks.count].flatten(0, 1)
        return torch.where(mine != 0, inputs / (1 - p), torch.zeros_like(inputs))
