"""BSS-L and BSS-H in an Accelerate loop, resumable inside an epoch; also with `torchrun --nproc-per-node 2`."""

from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch.utils.data import DataLoader
from two_modalities import Network, make_data, per_sample_loss, run

from bss.balance import Scheduler, SequenceSampler, WithIndex

BATCH = 16  # of all processes together


def train(scheduler: Scheduler, folder: Path, epochs: int = 6, **options: Any) -> SequenceSampler:
    """Train from the last checkpoint in `folder`, if there is one; return the sampler."""
    accelerator = Accelerator(cpu=True)
    data, network = make_data(), Network()
    sampler = SequenceSampler(len(data), scheduler, seed=0, **options)  # no rank=, ranks=: prepare() shards the loader
    model, optimiser, loader = accelerator.prepare(
        network,
        torch.optim.SGD(network.parameters(), lr=0.1),
        DataLoader(WithIndex(data), batch_size=BATCH // accelerator.num_processes, sampler=sampler),
    )
    done = 0
    if (folder / "sampler.pt").exists():
        accelerator.load_state(str(folder))
        state = torch.load(folder / "sampler.pt")
        sampler.load_state_dict(state["sampler"])
        done = state["done"]
    for epoch in range(max(0, sampler.epoch), epochs):
        loader.set_epoch(epoch)
        for index, audio, image, labels in loader:
            logits = model(audio, image)
            loss = per_sample_loss(logits, labels)
            seen = accelerator.gather((index, logits, loss))  # or each process would measure its own batches alone
            sampler.check(seen[0])
            sampler.observe(*seen)
            optimiser.zero_grad()
            accelerator.backward(loss.mean())
            optimiser.step()
            done += 1
            if done % 5 == 0:
                accelerator.save_state(str(folder))
                state = {"sampler": sampler.state_dict(position=done * BATCH), "done": done}
                accelerator.save(state, folder / "sampler.pt")
        done = 0
    return sampler


if __name__ == "__main__":
    run(train)
