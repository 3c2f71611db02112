"""How the heads do on one split: what strategies plan an epoch by."""

import torch
import torch.nn.functional as F

from bss.models.network import MultiModalNetwork
from bss.strategies import Facts
from bss.training.distributed.ranks import Ranks
from bss.training.measuring import batches_of_all
from bss.training.purity import read_purity
from bss.training.split_data import SplitData


def read_facts(network: MultiModalNetwork, data: SplitData, ranks: Ranks, clustered: bool = False) -> Facts:
    """Return the facts of a split in eval mode, without augmentation, the same on all ranks, which share the pass.

    `clustered` includes the purity of clusters, by a second pass.
    """
    network.eval()
    names = list(network.heads)
    sums = torch.zeros(3 * len(names) + 1, dtype=torch.float64, device=data.device)
    with torch.no_grad():
        for inputs, labels in data.batches(ranks.deal(batches_of_all(data))):
            outputs = network(inputs)
            losses = [F.cross_entropy(outputs.logits[name], labels, reduction="none") for name in names]
            right = [(outputs.logits[name].argmax(dim=1) == labels).double() for name in names]
            fused = F.cross_entropy(outputs.fused, labels, reduction="none")
            columns = [*losses, *right, *(torch.exp(-loss) for loss in losses), fused]
            sums += torch.stack([column.double().sum() for column in columns])
    ranks.add(sums)
    means = (sums / len(data)).tolist()
    per_modality = [dict(zip(names, means[i * len(names) :], strict=False)) for i in range(3)]
    loss, accuracy, confidence = per_modality
    return Facts(loss, means[-1], accuracy, confidence, read_purity(network, data, ranks) if clustered else {})
