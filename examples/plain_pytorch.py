"""BSS-L and BSS-H in a plain PyTorch loop, resumable inside an epoch; also with `torchrun --nproc-per-node 2`."""

import os
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader
from two_modalities import Network, make_data, per_sample_loss, run

from bss.balance import Scheduler, SequenceSampler, WithIndex

BATCH = 16  # of all processes together


def train(scheduler: Scheduler, folder: Path, epochs: int = 6, **options: Any) -> SequenceSampler:
    """Train from the last checkpoint in `folder`, if there is one; return the sampler."""
    rank, ranks = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    data, network, size = make_data(), Network(), BATCH // ranks
    model = DistributedDataParallel(network) if ranks > 1 else network
    sampler = SequenceSampler(len(data), scheduler, seed=0, rank=rank, ranks=ranks, **options)
    loader = DataLoader(WithIndex(data), batch_size=size, sampler=sampler)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1)
    checkpoint, done = folder / "last.pt", 0
    if checkpoint.exists():
        state = torch.load(checkpoint)
        network.load_state_dict(state["network"])
        sampler.load_state_dict(state["sampler"])
        done = state["done"]
    for epoch in range(max(0, sampler.epoch), epochs):
        sampler.set_epoch(epoch)
        for index, audio, image, labels in loader:
            sampler.check(index)
            logits = model(audio, image)
            loss = per_sample_loss(logits, labels)
            sampler.observe(index, logits, loss)
            optimiser.zero_grad()
            loss.mean().backward()
            optimiser.step()
            done += 1
            if done % 5 == 0:
                sampler.share()  # all ranks call it; then the state of rank 0 is valid for all
                if rank == 0:
                    state = {"sampler": sampler.state_dict(position=done * size), "network": network.state_dict()}
                    torch.save({**state, "done": done}, checkpoint)
        done = 0
    return sampler


if __name__ == "__main__":
    if "RANK" in os.environ:
        dist.init_process_group("gloo")
    run(train)
