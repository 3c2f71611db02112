"""Training steps: batches, optimiser, one epoch over a sequence."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from bss.config.schema import AdamConfig, OptimiserConfig, StepDecay
from bss.models.augmentation import Augmentation
from bss.models.network import MultiModalNetwork, Outputs
from bss.training.dropout import with_dropout_of
from bss.training.ranks import ALONE, Ranks
from bss.training.split_data import SplitData


def split_into_batches(sequence: npt.NDArray[np.int64], batch_size: int) -> list[npt.NDArray[np.int64]]:
    """Cut `sequence` into batches, in order, with nothing dropped.

    A last batch of a single sample joins the one before it: batch normalisation cannot train on one.
    """
    starts = list(range(0, len(sequence), batch_size))
    if len(starts) > 1 and len(sequence) - starts[-1] == 1:
        starts.pop()
    ends = [*starts[1:], len(sequence)]
    return [sequence[start:end] for start, end in zip(starts, ends, strict=True)]


def count_steps(samples: int, batch_size: int) -> int:
    """Return how many batches `split_into_batches` makes of `samples` samples."""
    return len(split_into_batches(np.arange(samples), batch_size))


def make_optimiser(network: MultiModalNetwork, config: OptimiserConfig) -> torch.optim.Optimizer:
    """Return the optimiser for all parameters of `network`."""
    rate, decay = config.learning_rate, config.weight_decay
    if isinstance(config, AdamConfig):
        return torch.optim.Adam(network.parameters(), lr=rate, weight_decay=decay, fused=True)
    return torch.optim.SGD(network.parameters(), lr=rate, momentum=config.momentum, weight_decay=decay, fused=True)


def learning_rate(config: OptimiserConfig, decay: StepDecay, epoch: int) -> float:
    """Return the learning rate of `epoch` (from 0)."""
    return config.learning_rate * decay.factor ** sum(epoch >= at for at in decay.at)


def train_epoch(
    network: MultiModalNetwork,
    optimiser: torch.optim.Optimizer,
    data: SplitData,
    batches: list[npt.NDArray[np.int64]],
    observe: Callable[[npt.NDArray[np.int64], Outputs, Tensor], None] | None = None,
    wrapped: nn.Module | None = None,
    ranks: Ranks = ALONE,
    done: tuple[int, float] = (0, 0.0),
    after_step: Callable[[int, Tensor], None] | None = None,
    *,
    seed: int,
    epoch: int,
) -> float:
    """Train on the global `batches` (positions in `data`) in order; return the mean training loss per sample.

    Each rank takes its share of each batch through `wrapped` (`Ranks.wrap` of `network`; None: `network`
    itself); the update is that of the mean loss over the global batch. `observe(index, outputs, loss)` is
    called for each share with the outputs and losses of the training pass itself. `done` tells how many
    batches are done already and the sum of this rank's losses in them; `after_step` is called after each
    batch with both. What dropout draws is decided by `seed`, `epoch`, the step and the rank; what augmentation
    draws by `seed`, `epoch` and the sample.
    """
    network.train()
    call = network if wrapped is None else wrapped
    first, loss_so_far = done
    total = torch.tensor(loss_so_far, dtype=torch.float64, device=data.device)
    augmentation = Augmentation(seed, "training", epoch)
    drawn = with_dropout_of(batches[first:], seed, "training", epoch, ranks.rank, first)
    for step, batch in enumerate(drawn, first + 1):
        index = ranks.share(batch)
        inputs, labels = data.batch(index, augmentation)
        outputs = call(inputs)
        loss = network.loss(outputs, labels)
        if observe is not None:
            observe(index, outputs, loss)
        optimiser.zero_grad(set_to_none=True)
        # The gradients are averaged over the ranks, whose shares may differ in size; a share may be empty.
        objective = loss.sum() / (len(batch) / ranks.count)
        penalty = network.fusion.penalty()
        (objective if penalty is None else objective + penalty).backward()
        optimiser.step()
        total += loss.detach().sum()
        if after_step is not None:
            after_step(step, total)
    ranks.add(total)
    return float(total) / sum(len(batch) for batch in batches)
