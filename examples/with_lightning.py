"""BSS-L and BSS-H in Lightning, resumable inside an epoch; also with `torchrun --nproc-per-node 2`."""

import os
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader
from two_modalities import Network, make_data, per_sample_loss, run

from bss.balance import Scheduler, SequenceSampler, WithIndex

BATCH = 16  # of all processes together
RANK, RANKS = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


class Balanced(L.LightningModule):
    """Trains a `Network`; its checkpoints hold the sampler's state."""

    def __init__(self, sampler: SequenceSampler) -> None:
        super().__init__()
        self.network, self.sampler = Network(), sampler

    def training_step(self, batch: list[torch.Tensor]) -> torch.Tensor:
        index, audio, image, labels = batch
        self.sampler.check(index)
        loss = per_sample_loss(logits := self.network(audio, image), labels)
        self.sampler.observe(index, logits, loss)
        return loss.mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.sampler.share()
        done = self.trainer.fit_loop.epoch_loop.batch_progress.current.ready * BATCH // RANKS
        checkpoint["sampler"] = self.sampler.state_dict(position=done)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.sampler.load_state_dict(checkpoint["sampler"])


def train(scheduler: Scheduler, folder: Path, epochs: int = 6, **options: Any) -> SequenceSampler:
    """Train from the last checkpoint in `folder`, if there is one; return the sampler."""
    data = make_data()
    sampler = SequenceSampler(len(data), scheduler, 0, rank=RANK, ranks=RANKS, num_samples=len(data), **options)
    trainer = L.Trainer(
        accelerator="cpu", devices=RANKS, strategy="ddp" if RANKS > 1 else "auto", max_epochs=epochs, logger=False,
        use_distributed_sampler=False, callbacks=[ModelCheckpoint(folder, every_n_train_steps=5, save_last=True)],
    )  # fmt: skip
    loader = DataLoader(WithIndex(data), batch_size=BATCH // RANKS, sampler=sampler)
    trainer.fit(Balanced(sampler), loader, ckpt_path="last")
    return sampler


if __name__ == "__main__":
    run(train)
