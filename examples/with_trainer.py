"""BSS-L and BSS-H in the Hugging Face Trainer, resumable inside an epoch; also with `torchrun --nproc-per-node 2`."""

from pathlib import Path
from typing import Any

import torch
from torch.utils.data import default_collate
from transformers import Trainer, TrainingArguments
from transformers.trainer_utils import get_last_checkpoint
from two_modalities import Network, make_data, per_sample_loss, run

from bss.balance import Scheduler, SequenceSampler, WithIndex

BATCH = 16  # of all processes together
NAMES = ("index", "audio", "image", "labels")


class Balanced(Trainer):
    """Trains with a SequenceSampler, whose state is in the checkpoints."""

    def _get_train_sampler(self, *_: Any) -> SequenceSampler:
        return self.sampler

    def compute_loss(self, model: torch.nn.Module, inputs: dict[str, torch.Tensor], **_: Any) -> torch.Tensor:
        logits = model(inputs["audio"], inputs["image"])
        loss = per_sample_loss(logits, inputs["labels"])
        seen = self.accelerator.gather((inputs["index"], logits, loss))  # each process has batches of its own
        self.sampler.check(seen[0])
        self.sampler.observe(*seen)
        return loss.mean()

    def _save_checkpoint(self, *arguments: Any) -> None:
        super()._save_checkpoint(*arguments)
        if self.is_world_process_zero():  # at position 0: the Trainer itself skips the batches that are done
            state, folder = self.sampler.state_dict(position=0), f"checkpoint-{self.state.global_step}"
            torch.save(state, Path(self.args.output_dir, folder, "sampler.pt"))


def train(scheduler: Scheduler, folder: Path, epochs: int = 6, **options: Any) -> SequenceSampler:
    """Train from the last checkpoint in `folder`, if there is one; return the sampler."""
    data, network = make_data(), Network()
    arguments = TrainingArguments(
        folder, num_train_epochs=epochs, max_grad_norm=0, lr_scheduler_type="constant", save_steps=5, use_cpu=True,
        save_total_limit=2, remove_unused_columns=False, report_to=[], disable_tqdm=True, dataloader_pin_memory=False,
    )  # fmt: skip
    arguments.per_device_train_batch_size = BATCH // arguments.world_size
    trainer = Balanced(
        network, arguments, train_dataset=WithIndex(data),
        data_collator=lambda samples: dict(zip(NAMES, default_collate(samples), strict=True)),
        optimizers=(torch.optim.SGD(network.parameters(), lr=0.1), None),
    )  # fmt: skip
    trainer.sampler = SequenceSampler(len(data), scheduler, seed=0, num_samples=len(data), **options)
    if last := get_last_checkpoint(folder):
        trainer.sampler.load_state_dict(torch.load(Path(last) / "sampler.pt"))
    trainer.train(resume_from_checkpoint=last)
    return trainer.sampler


if __name__ == "__main__":
    run(train)
