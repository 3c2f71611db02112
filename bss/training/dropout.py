"""What dropout draws: a function of seed, purpose, epoch, step and rank alone."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

import torch

from bss.balance.draw import generator

Batch = TypeVar("Batch")


def with_dropout_of(
    batches: Iterable[Batch], seed: int, purpose: str, epoch: int, rank: int = 0, first: int = 0
) -> Iterator[Batch]:
    """Yield each of `batches` with torch's generators seeded for its step; restore them behind the last.

    The step of the first batch is `first`.

    What an earlier step, another training in this process or the order of workers has drawn changes nothing.
    Ranks draw apart, so with dropout a result depends on how many there are.
    """
    devices = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=devices):
        for step, batch in enumerate(batches, first):
            draw = generator(seed, f"dropout {purpose} {step} {rank}", epoch)
            torch.manual_seed(int(draw.integers(2**63)))
            yield batch
