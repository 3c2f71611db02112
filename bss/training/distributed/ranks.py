"""The ranks of one trial: processes that share every batch and agree on everything else."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from bss.errors import BssError
from bss.models.inputs.to_device import read_later, to_device
from bss.signals import interruptions_wait
from bss.training.distributed.batch_norm import share_batch_norm

Item = TypeVar("Item")


@dataclass(frozen=True)
class Ranks:
    """The rank of this process and the number of ranks, over all machines.

    With one rank every method returns its argument, and no process group is needed.
    """

    rank: int = 0
    count: int = 1

    def share(self, batch: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return this rank's samples of a global batch: every `count`-th; empty if the batch is too small."""
        return batch[self.rank :: self.count]

    def deal(self, items: list[Item]) -> list[Item]:
        """Return this rank's part of order-independent work."""
        return items[self.rank :: self.count]

    def wrap(self, network: nn.Module, averaging: bool = True) -> nn.Module:
        """Return a wrapper that training steps call instead of `network`, so that gradients are averaged.

        Batch normalisation in `network` is changed to use statistics of the global batch. Without `averaging`
        that is all, and the step averages gradients itself (`average`).
        """
        if self.count == 1:
            return network
        share_batch_norm(network)
        if not averaging:
            return network
        # Parameters and buffers are already the same on all ranks, and nothing else may change them.
        return nn.parallel.DistributedDataParallel(network, forward_sync_buffers=False)

    def adding_gradients(self, wrapped: nn.Module, last: bool) -> AbstractContextManager[Any]:
        """Return the context of one of several accumulating backward passes; the last one averages the gradients."""
        return nullcontext() if self.count == 1 or last else wrapped.no_sync()  # type: ignore[operator]

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Replace each of `tensors`, of one dtype, by its mean over the ranks: one message, added in a fixed order."""
        if self.count == 1 or not tensors:
            return
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        self.add(flat)
        flat /= self.count
        for tensor, mean in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(mean.view_as(tensor))

    def add(self, tensor: Tensor) -> None:
        """Replace `tensor` by its sum over the ranks, with the same bits on all ranks."""
        if self.count > 1:
            torch.distributed.all_reduce(tensor)

    def agree(self, values: npt.NDArray[np.int64], device: torch.device) -> npt.NDArray[np.int64]:
        """Return rank 0's `values`: different CPUs may round a logarithm differently."""
        if self.count == 1:
            return values
        tensor = torch.from_numpy(values).to(device, copy=True)
        torch.distributed.broadcast(tensor, src=0)
        return tensor.cpu().numpy()

    def undisturbed(self) -> AbstractContextManager[Any]:
        """Return a context that rank 0 completes even if torchrun stops it because another rank has exited."""
        return nullcontext() if self.count == 1 else interruptions_wait()


ALONE = Ranks()
"""A trial in this process only."""


class Vote:
    """Flags raised by any rank after a step, with the same answer on all ranks.

    With several ranks it is the previous step's answer, so that nothing waits for a busy GPU. A rank repeats its flag
    until it is handled.
    """

    def __init__(self, ranks: Ranks, device: torch.device) -> None:
        self._ranks, self._device = ranks, device
        self._answer: Callable[[], list[Any]] | None = None

    def __call__(self, *asked: bool, now: bool) -> tuple[bool, ...]:
        """Return for each of `asked` whether it is true on any rank; `now` answers immediately."""
        if self._ranks.count == 1:
            return asked
        before = self._answer
        counts = to_device(self._device, np.array(asked, dtype=np.float32))
        self._ranks.add(counts)
        self._answer = read_later(counts)  # copied now: a later copy would wait for the steps in between
        answer = self._answer if now else before
        return (False,) * len(asked) if answer is None else tuple(count > 0 for count in answer())

    def forget(self) -> None:
        """Reset the flags after handling them. Collective: all ranks call it together."""
        self._answer = None


@contextmanager
def join_ranks(device: torch.device) -> Iterator[Ranks]:
    """Join the process group from torchrun's environment: nccl on GPUs, gloo on CPU.

    Makes GPU number LOCAL_RANK the current one. Raises `BssError` if there is no such GPU.
    """
    local = int(os.environ["LOCAL_RANK"])
    if device.type == "cuda":
        require_gpus(int(os.environ["LOCAL_WORLD_SIZE"]))
        torch.cuda.set_device(local)
        torch.distributed.init_process_group("nccl", device_id=torch.device("cuda", local))
    else:
        torch.distributed.init_process_group("gloo")
    yield Ranks(torch.distributed.get_rank(), torch.distributed.get_world_size())
    # Not after an error: the other ranks may be gone, and this process is about to end.
    torch.distributed.destroy_process_group()


def require_gpus(processes: int) -> None:
    """Raise `BssError` if this machine has fewer GPUs than training processes."""
    found = torch.cuda.device_count()
    if found < processes:
        raise BssError(
            f"params.yaml: train.processes: {processes} processes need a GPU each, but this machine has {found}. "
            f"Lower it, or set resources.device to cpu."
        )
