"""How the modalities of the trained network differ: linear probes, and contributions to each training sample."""

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bss.data.store import Store
from bss.metrics.base import Number
from bss.metrics.final import Contributed, ContributionMetric, Probed, ProbeMetric
from bss.metrics.find import values_of
from bss.metrics.shapley import few
from bss.models.network import MultiModalNetwork
from bss.strategies import Seen
from bss.strategies.shares import sample_contributions
from bss.training.distributed.ranks import Ranks
from bss.training.evaluation import task_of
from bss.training.imbalance import fusion_of
from bss.training.predicting import Read, spaced
from bss.training.samples.split_data import Indices, SplitData
from bss.training.strategy.head_facts import read_columns

MOST = 20_000
"""Samples of each split whose features are kept for the probes; of more, evenly spaced ones."""

ITERATIONS = 1000
"""Maximum number of iterations of a fit."""

Floats = npt.NDArray[np.float64]
Probe = Callable[[Floats], Indices]
"""A classifier: features [m, width] to classes [m]."""


@dataclass(frozen=True)
class FinalImbalance:
    """What is measured of the trained network."""

    metrics: dict[str, Number | None]
    """Metrics by their keys in metrics.json."""
    contributions: dict[str, Floats]
    """Contribution of each modality to each sample of train, [n]; empty with too many modalities."""


def final_imbalance(
    network: MultiModalNetwork, train: SplitData, scored: dict[str, Read], ranks: Ranks
) -> FinalImbalance:
    """Measure `network` by one pass over `train`, in eval mode without augmentation.

    `scored` are the `probed_samples` of the splits on which the probes are scored. Collective: all ranks get the same.
    """
    task, names = task_of(network), list(network.heads)
    counted = names if few(task) else []
    fuse = fusion_of(network)

    def contributions_of(seen: Seen) -> Tensor:
        return sample_contributions(replace(seen, fuse=fuse, fused=fuse(seen.features)))

    probed = probed_samples(train)

    def both(seen: Seen) -> Tensor:
        return torch.cat([_features(seen), contributions_of(seen)], dim=1)

    columns = read_columns(network, train, both if counted else _features, ranks, probed)
    found = np.zeros((len(train), len(counted)))
    if counted:
        found[probed] = columns[:, -len(counted) :]
        rest = np.setdiff1d(np.arange(len(train)), probed)
        if len(rest):
            found[rest] = read_columns(network, train, contributions_of, ranks, rest)
    contributions = dict(zip(counted, found.T, strict=True))
    metrics: dict[str, Number | None] = {}
    if counted:
        metrics |= values_of(ContributionMetric, Contributed(contributions), task)
    probes: dict[str, Probe] = {}
    if ranks.rank == 0:
        labels = _labels(train, probed)
        probes = {name: fit_probe(x, labels) for name, x in _by_modality(network, columns).items()}
    for split, read in scored.items():
        wanted, right = read.labels.cpu().numpy(), torch.zeros(len(names), dtype=torch.float64, device=train.device)
        for place, name in enumerate(probes):
            features = read.features[name].double().cpu().numpy()
            right[place] = float((probes[name](features) == wanted).mean())
        ranks.add(right)  # all zero but on rank 0
        accuracy = dict(zip(names, right.tolist(), strict=True))
        metrics |= values_of(ProbeMetric, Probed(accuracy), task, split)
    return FinalImbalance(metrics, contributions)


def probed_samples(data: SplitData) -> Indices:
    """Return the positions in a split of the samples that the probes are fitted or scored on."""
    return spaced(len(data), MOST)


def contributions_table(store: Store, train: SplitData, contributions: dict[str, Floats]) -> dict[str, Any]:
    """Return contributions.parquet: the training samples, their labels, and what each modality contributes."""
    head = {"index": train.rows, "id": store.ids[train.rows].tolist(), "label": store.labels[train.rows]}
    return head | {f"contribution_{name}": column for name, column in contributions.items()}


def fit_probe(features: Floats, labels: Indices) -> Probe:
    """Return a linear classifier, fitted on `features` [n, width], that maps features [m, width] to classes [m].

    Logistic regression with scikit-learn's penalty on standardised features, solved from zero by L-BFGS: the same
    inputs give the same bits.
    """
    from sklearn.linear_model import LogisticRegression

    if len(np.unique(labels)) == 1:
        return lambda scored: np.full(len(scored), labels[0])
    mean, deviation = features.mean(axis=0), features.std(axis=0)
    scale = np.where(deviation > 0, deviation, 1.0)
    threads = _thread_pools()
    with threads.limit(limits=1):  # several threads add in the order in which they end
        fitted = LogisticRegression(max_iter=ITERATIONS).fit((features - mean) / scale, labels)

    def predict(scored: Floats) -> Indices:
        with threads.limit(limits=1):
            found: Indices = fitted.predict((scored - mean) / scale)
        return found

    return predict


@functools.cache
def _thread_pools() -> Any:
    """Return the thread pools of the libraries that are loaded, which take long to find."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def _features(seen: Seen) -> Tensor:
    return torch.cat([x.double() for x in seen.features.values()], dim=1)


def _by_modality(network: MultiModalNetwork, columns: Floats) -> dict[str, Floats]:
    """Return the features [n, width] of each modality, the first of `columns`."""
    ends = np.cumsum([head.in_features for head in network.heads.values()])
    return dict(zip(network.heads, np.split(columns[:, : ends[-1]], ends[:-1], axis=1), strict=True))


def _labels(data: SplitData, chosen: Indices) -> Indices:
    found: Indices = data.labels.cpu().numpy()[chosen]
    return found
