"""Measuring how the modalities differ after an epoch: the input of the metrics of imbalance."""

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from bss.balance.draw import generator
from bss.config.schema import EvaluationConfig
from bss.metrics.base import ImbalanceMetric, Number
from bss.metrics.find import values_of
from bss.metrics.inputs import HeadLosses, Imbalance
from bss.models.network import MultiModalNetwork, Outputs
from bss.strategies import Seen
from bss.training.distributed.ranks import Ranks
from bss.training.evaluation import task_of
from bss.training.measuring import BATCH
from bss.training.predicting import Read, spaced
from bss.training.resume.state import Row
from bss.training.samples.split_data import Indices, SplitData
from bss.training.strategy.head_facts import read_columns

SHARE, LEAST = 8, 256
"""Measure one in `SHARE` samples of train, at least `LEAST`, and as many of the watched split."""


def is_due(options: EvaluationConfig, epoch: int, epochs: int) -> bool:
    """Return whether imbalance is measured after `epoch` (from 0) of `epochs`."""
    every = options.imbalance_every
    return every is not None and ((epoch + 1) % every == 0 or epoch + 1 == epochs)


def imbalance_row(
    network: MultiModalNetwork,
    watched: Read,
    train: SplitData,
    history: list[Row],
    seed: int,
    epoch: int,
    ranks: Ranks,
) -> dict[str, Number | None]:
    """Return the metrics of imbalance after `epoch`, by their columns; `history` has the rows before it.

    `watched` are the `watched_samples` of the watched split. In eval mode, without augmentation, and with draws of its
    own: the measurement leaves the trial as it was.
    """
    names = list(network.heads)
    train_losses = _train_losses(network, train, ranks)
    with torch.no_grad():
        given = Imbalance(
            watched.features,
            watched.labels,
            fusion_of(network),
            _losses(watched.logits, watched.labels),
            train_losses,
            _before(history, names),
            _gradient_norms(network, train),
            generator(seed, "imbalance", epoch),
        )
        return values_of(ImbalanceMetric, given, task_of(network))


def watched_samples(watched: SplitData, train: SplitData) -> Indices:
    """Return the positions in the watched split of the samples that are measured."""
    return spaced(len(watched), _count(train))


def fusion_of(network: MultiModalNetwork) -> Callable[[Mapping[str, Tensor]], Tensor]:
    """Return the function from all features to one prediction: the fusion head, or the heads if only they predict.

    In networks such as those of ReconBoost and MLA the fusion head is not trained, and would say nothing.
    """
    if network.config.prediction not in ("unimodal-heads", "by-entropy"):
        return network.fuse

    def predicted(features: Mapping[str, Tensor]) -> Tensor:
        logits = network.classify(features)
        unused = next(iter(logits.values()))  # where the fused logits are
        return network.scores(Outputs(logits, unused, dict(features)))

    return predicted


def _count(train: SplitData) -> int:
    return max(LEAST, len(train) // SHARE)


def _train_losses(network: MultiModalNetwork, train: SplitData, ranks: Ranks) -> HeadLosses:
    """Return how the heads do on evenly spaced samples of train, on all ranks."""
    chosen, names = spaced(len(train), _count(train)), list(network.heads)

    def measure(seen: Seen) -> Tensor:
        return torch.cat(list(seen.logits.values()), dim=1)

    columns = torch.from_numpy(read_columns(network, train, measure, ranks, chosen)).float().to(train.device)
    labels = train.labels[torch.from_numpy(chosen).to(train.device)]
    return _losses(dict(zip(names, columns.split(network.classes, dim=1), strict=True)), labels)


def _losses(logits: dict[str, Tensor], labels: Tensor) -> HeadLosses:
    losses = {name: F.cross_entropy(z, labels, reduction="none").double() for name, z in logits.items()}
    means = {name: float(loss.mean()) for name, loss in losses.items()}
    return HeadLosses(means, {name: float(torch.exp(-loss).mean()) for name, loss in losses.items()})


def _before(history: list[Row], names: list[str]) -> tuple[HeadLosses, HeadLosses] | None:
    """Return the losses at the last measurement, on train and on the watched split."""
    for row in reversed(history):
        if f"imbalance/head_loss_{names[0]}" in row:
            read = (
                {name: row[f"imbalance/{key}_{name}"] for name in names} for key in ("train_head_loss", "head_loss")
            )
            train, watched = (HeadLosses(losses, {}) for losses in read)
            return train, watched
    return None


def _gradient_norms(network: MultiModalNetwork, train: SplitData) -> dict[str, float]:
    """Return the norm of each encoder's gradient of the mean loss over one batch, which all ranks pass in full."""
    network.eval()
    ((inputs, labels),) = train.batches([spaced(len(train), min(BATCH, 64))])
    parameters = {name: list(encoder.parameters()) for name, encoder in network.encoders.items()}
    with torch.enable_grad():
        loss = network.loss(network(inputs), labels).mean()
        flat = [p for of in parameters.values() for p in of]
        found = iter(torch.autograd.grad(loss, flat, allow_unused=True, materialize_grads=True))
    squares = {name: [next(found).double().square().sum() for _ in of] for name, of in parameters.items()}
    return {name: float(torch.stack(of).sum().sqrt()) if of else 0.0 for name, of in squares.items()}
