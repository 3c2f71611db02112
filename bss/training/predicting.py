"""The predictions of a network on one split."""

import numpy as np
import numpy.typing as npt
import torch

from bss.models.network import MultiModalNetwork
from bss.training.distributed.ranks import ALONE, Ranks
from bss.training.measuring import batches_of_all
from bss.training.split_data import SplitData


def predict(
    network: MultiModalNetwork, data: SplitData, ranks: Ranks = ALONE
) -> tuple[npt.NDArray[np.float32], dict[str, npt.NDArray[np.float32]]]:
    """Return the scores behind the prediction, and the logits of each modality's head, all [n, classes].

    The ranks share the work; all of them get the full result, the same as with one rank.
    """
    network.eval()
    scores = torch.zeros(len(data), network.classes, device=data.device)
    heads = {name: torch.zeros_like(scores) for name in network.heads}
    with torch.no_grad():
        batches = ranks.deal(batches_of_all(data))
        for index, (inputs, _) in zip(batches, data.batches(batches), strict=True):
            outputs = network(inputs)
            where = slice(int(index[0]), int(index[-1]) + 1)
            scores[where] = network.scores(outputs)
            for name, z in outputs.logits.items():
                heads[name][where] = z
    for column in (scores, *heads.values()):
        ranks.add(column)  # each row is zero on all ranks but one
    return scores.cpu().numpy(), {name: logits.cpu().numpy() for name, logits in heads.items()}
