"""The predictions of a network on one split."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bss.models.network import MultiModalNetwork
from bss.training.distributed.ranks import ALONE, Ranks
from bss.training.measuring import batches_of_all
from bss.training.samples.split_data import Indices, SplitData

NONE: Indices = np.empty(0, dtype=np.int64)


@dataclass(frozen=True)
class Read:
    """What a network makes of k samples of a split in eval mode, without augmentation; float32, the same on all ranks.

    It is what the pass that evaluates a split saw of them, so that nothing is computed twice.
    """

    features: dict[str, Tensor]
    """What heads and fusion take, [k, width] per modality."""
    logits: dict[str, Tensor]
    """Logits of the heads, [k, classes] per modality."""
    labels: Tensor
    """int64 [k]."""


def predict(
    network: MultiModalNetwork, data: SplitData, ranks: Ranks = ALONE
) -> tuple[npt.NDArray[np.float32], dict[str, npt.NDArray[np.float32]]]:
    """Return the scores behind the prediction, and the logits of each modality's head, all [n, classes].

    The ranks share the work; all of them get the full result, the same as with one rank.
    """
    scores, heads, _ = predict_and_read(network, data, NONE, ranks)
    return scores, heads


def predict_and_read(
    network: MultiModalNetwork, data: SplitData, chosen: Indices, ranks: Ranks = ALONE
) -> tuple[npt.NDArray[np.float32], dict[str, npt.NDArray[np.float32]], Read]:
    """Return the same, and what the pass read of the samples at the ascending positions `chosen`."""
    network.eval()
    scores = torch.zeros(len(data), network.classes, device=data.device)
    heads = {name: torch.zeros_like(scores) for name in network.heads}
    widths: dict[str, Any] = {name: head.in_features for name, head in network.heads.items()}
    features = {name: torch.zeros(len(chosen), width, device=data.device) for name, width in widths.items()}
    with torch.no_grad():
        batches = ranks.deal(batches_of_all(data))
        for index, (inputs, _) in zip(batches, data.batches(batches), strict=True):
            outputs = network(inputs)
            first, end = int(index[0]), int(index[-1]) + 1
            scores[first:end] = network.scores(outputs)
            for name, z in outputs.logits.items():
                heads[name][first:end] = z
            start, stop = np.searchsorted(chosen, (first, end))
            if start < stop:
                rows = torch.from_numpy(chosen[start:stop] - first).to(data.device)
                for name, x in network.activate(outputs.features).items():
                    features[name][start:stop] = x[rows]
    for column in (scores, *heads.values(), *(x for x in features.values() if len(x))):
        ranks.add(column)  # each row is zero on all ranks but one
    where = torch.from_numpy(chosen).to(data.device)
    read = Read(features, {name: z[where] for name, z in heads.items()}, data.labels[where])
    return scores.cpu().numpy(), {name: logits.cpu().numpy() for name, logits in heads.items()}, read


def spaced(samples: int, count: int) -> Indices:
    """Return up to `count` evenly spaced positions of `samples`, ascending."""
    return np.linspace(0, samples, min(count, samples), endpoint=False).astype(np.int64)
