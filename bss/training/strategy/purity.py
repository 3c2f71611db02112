"""How pure the clusters of a modality's features are: whether its encoder alone separates the classes."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bss.models.network import MultiModalNetwork
from bss.training.distributed.ranks import Ranks
from bss.training.measuring import batches_of_all
from bss.training.samples.split_data import SplitData

MOST = 20_000
"""Rows that are clustered; of more, evenly spaced ones."""


def read_purity(network: MultiModalNetwork, data: SplitData, ranks: Ranks) -> dict[str, float]:
    """Return the purity in [0, 1] of each modality's features on a split, the same on all ranks, which share the pass.

    The features [n, width] are those of eval mode, scaled to [-1, 1]; there are as many clusters as classes.
    """
    network.eval()
    features: dict[str, Tensor] = {}
    with torch.no_grad():
        batches = ranks.deal(batches_of_all(data))
        for index, (inputs, _) in zip(batches, data.batches(batches), strict=True):
            for name, x in network.activate(network.encode(inputs)).items():
                if name not in features:
                    features[name] = torch.zeros(len(data), x.shape[1], device=data.device)
                features[name][int(index[0]) : int(index[-1]) + 1] = x
    purities = torch.zeros(len(network.encoders), dtype=torch.float64, device=data.device)
    rows = np.linspace(0, len(data) - 1, min(MOST, len(data))).astype(np.int64)
    labels = data.labels.cpu().numpy()[rows]
    for i, (name, encoder) in enumerate(network.encoders.items()):
        found = features.get(name, torch.zeros(len(data), int(encoder.width), device=data.device))  # type: ignore[arg-type]
        ranks.add(found)
        if ranks.rank == 0:
            purities[i] = purity(found.cpu().numpy()[rows], labels, network.classes)
    ranks.add(purities)
    return dict(zip(network.encoders, purities.tolist(), strict=True))


def purity(features: npt.NDArray[np.float32], labels: npt.NDArray[np.int64], clusters: int) -> float:
    """Return the share of rows whose label is the most frequent of their cluster (k-means, best of five starts)."""
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    low, high = features.min(axis=0), features.max(axis=0)
    scaled = 2 * (features - low) / np.maximum(high - low, 1e-12) - 1
    kmeans = KMeans(min(clusters, len(np.unique(scaled, axis=0))), n_init=5, random_state=0)
    with threadpool_limits(1):  # several threads add in the order in which they end
        found = kmeans.fit_predict(scaled)
    return float(sum(np.bincount(labels[found == k]).max() for k in np.unique(found)) / len(labels))
