"""How the heads do on one split: what strategies plan an epoch by."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from bss.balance.draw import generator
from bss.models.inputs.to_device import to_device
from bss.models.network import IGNORED, MultiModalNetwork
from bss.strategies import Facts, Seen
from bss.strategies.losses import one_hot
from bss.training.distributed.ranks import Ranks
from bss.training.measuring import batches_of
from bss.training.samples.split_data import SplitData
from bss.training.strategy.purity import read_purity


def drawn_share(samples: int, share: float, seed: int, epoch: int) -> npt.NDArray[np.int64]:
    """Return `share`, in (0, 1], of the positions of a split of `samples`, drawn for `epoch`, in their order."""
    if share == 1:
        return np.arange(samples)
    drawn = generator(seed, "strategy share", epoch).permutation(samples)
    return np.sort(drawn[: max(1, round(share * samples))])


def read_facts(
    network: MultiModalNetwork,
    data: SplitData,
    ranks: Ranks,
    clustered: bool = False,
    averaging: bool = False,
    chosen: npt.NDArray[np.int64] | None = None,
) -> Facts:
    """Return the facts of a split in eval mode, without augmentation, the same on all ranks, which share the pass.

    `clustered` includes the purity of clusters, by a second pass; `averaging` the sums of the features of each class.
    `chosen` positions are all that is read of the split, but for the clusters; None: all of it.
    """
    positions = np.arange(len(data)) if chosen is None else chosen
    network.eval()
    names = list(network.heads)
    sums = torch.zeros(3 * len(names) + 1, dtype=torch.float64, device=data.device)
    encoders: dict[str, Any] = dict(network.encoders) if averaging else {}
    of_classes = {
        name: torch.zeros(network.classes, encoder.width, dtype=torch.float64, device=data.device)
        for name, encoder in encoders.items()
    }
    with torch.no_grad():
        for inputs, labels in data.batches(ranks.deal(batches_of(data, positions))):
            outputs = network(inputs)
            losses = [F.cross_entropy(outputs.logits[name], labels, reduction="none") for name in names]
            right = [(outputs.logits[name].argmax(dim=1) == labels).double() for name in names]
            fused = F.cross_entropy(outputs.fused, labels, reduction="none")
            columns = [*losses, *right, *(torch.exp(-loss) for loss in losses), fused]
            sums += torch.stack([column.double().sum() for column in columns])
            if averaging:
                shown = one_hot(labels, network.classes).T.double()
                features = network.activate(outputs.features)
                for name, summed in of_classes.items():
                    summed.add_(shown @ features[name].double())
    ranks.add(sums)
    for summed in of_classes.values():
        ranks.add(summed)
    means = (sums / len(positions)).tolist()
    per_modality = [dict(zip(names, means[i * len(names) :], strict=False)) for i in range(3)]
    loss, accuracy, confidence = per_modality
    purity = read_purity(network, data, ranks) if clustered else {}
    if not averaging:
        return Facts(loss, means[-1], accuracy, confidence, purity)
    shown = data.labels[to_device(data.device, positions)]
    counts = torch.bincount(shown, minlength=network.classes).float()
    features_of_classes = {name: summed.float() for name, summed in of_classes.items()}
    return Facts(loss, means[-1], accuracy, confidence, purity, features_of_classes, counts)


def drawn_batch(
    network: MultiModalNetwork, data: SplitData, size: int, key: tuple[int, str, int]
) -> tuple[Callable[[], Seen], int]:
    """Return a function passing a batch of a split through `network` in eval mode with gradients, and the batch size.

    That is `size`, or that of the split if it is smaller. `key`, a seed, a name and an epoch, decides what is drawn;
    every rank takes the whole batch.
    """
    seed, name, epoch = key
    drawn = generator(seed, f"strategy batch of {name}", epoch).permutation(len(data))[:size]
    ((inputs, labels),) = data.batches([drawn])

    def see() -> Seen:
        network.eval()
        outputs = network(inputs).in_fp32()
        features = network.activate(outputs.features)
        ignored = inputs.get(IGNORED)
        return Seen(features, outputs.logits, outputs.fused, labels, network.fuse, ignored=ignored)

    return see, len(drawn)


def read_columns(
    network: MultiModalNetwork,
    data: SplitData,
    measure: Callable[[Seen], Tensor],
    ranks: Ranks,
    chosen: npt.NDArray[np.int64] | None = None,
) -> npt.NDArray[np.float64]:
    """Return the values of `measure` for each sample of a split, float64 [n, k]. Ranks share the work.

    In eval mode and without augmentation; `chosen` positions in the split are all that is read, None: all of it.
    """
    network.eval()
    positions = np.arange(len(data)) if chosen is None else chosen
    batches = batches_of(data, positions)
    places = np.array_split(np.arange(len(positions)), len(batches))
    shares = [ranks.share(batch) for batch in batches]  # so that each rank gets some of it
    columns: Tensor | None = None
    with torch.no_grad():
        for place, (inputs, labels) in zip(places, data.batches(shares), strict=True):
            outputs = network(inputs)
            features = network.activate(outputs.features)
            found = measure(Seen(features, outputs.logits, outputs.fused, labels, network.fuse)).double()
            if columns is None:
                columns = torch.zeros(len(positions), found.shape[1], dtype=torch.float64, device=data.device)
            columns[to_device(data.device, ranks.share(place))] = found
    assert columns is not None
    ranks.add(columns)  # each row is zero on all ranks but one
    return columns.cpu().numpy()
