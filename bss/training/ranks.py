"""The ranks of one training: processes that share every batch and agree on everything else."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from bss.errors import BssError
from bss.training.batch_norm import share_batch_norm

Item = TypeVar("Item")


@dataclass(frozen=True)
class Ranks:
    """Which rank this process is and how many there are, over all machines.

    With one rank every method returns what it was given and no process group is needed.
    """

    rank: int = 0
    count: int = 1

    def share(self, batch: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return this rank's samples of a global batch: every `count`-th; none where the batch is too small."""
        return batch[self.rank :: self.count]

    def deal(self, items: list[Item]) -> list[Item]:
        """Return this rank's part of work that is independent of its order."""
        return items[self.rank :: self.count]

    def wrap(self, network: nn.Module) -> nn.Module:
        """Return what a training step calls in place of `network`, so that its gradients are averaged.

        Batch normalisation in `network` is changed to take its statistics over the global batch.
        """
        if self.count == 1:
            return network
        share_batch_norm(network)
        # Parameters and buffers are the same on all ranks already, and nothing may change them behind our back.
        return nn.parallel.DistributedDataParallel(network, forward_sync_buffers=False)

    def add(self, tensor: Tensor) -> None:
        """Replace `tensor` by its sum over the ranks, the same bits on all of them."""
        if self.count > 1:
            torch.distributed.all_reduce(tensor)

    def any(self, flag: bool, device: torch.device) -> bool:
        """Return whether `flag` is true on any rank, the same answer on all of them."""
        if self.count == 1:
            return flag
        flags = torch.tensor(float(flag), device=device)
        self.add(flags)
        return bool(flags)

    def agree(self, values: npt.NDArray[np.int64], device: torch.device) -> npt.NDArray[np.int64]:
        """Return rank 0's `values`: machines of different make may round a logarithm differently."""
        if self.count == 1:
            return values
        tensor = torch.from_numpy(values).to(device, copy=True)
        torch.distributed.broadcast(tensor, src=0)
        return tensor.cpu().numpy()


ALONE = Ranks()
"""A training in this process only."""


@contextmanager
def join_ranks(device: torch.device) -> Iterator[Ranks]:
    """Join the process group that torchrun's environment names: nccl on GPUs, gloo on CPU.

    Makes GPU number LOCAL_RANK the current one. Raises `BssError` where there is no such GPU.
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
    """Raise `BssError` where this machine has fewer GPUs than a training has processes on it."""
    found = torch.cuda.device_count()
    if found < processes:
        raise BssError(
            f"params.yaml: train.processes: {processes} processes need a GPU each, but this machine has {found}. "
            f"Lower it, or set resources.device to cpu."
        )
