"""How well planted faults are found: suspicions of each sample from the same predictions, and what they are worth."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from bss.balance.criteria import prediction_similarity, training_loss
from bss.balance.score import BalanceScore

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Logits = Mapping[str, npt.NDArray[np.float32]]

BINS = 10
"""Of the reliability table."""
FUSED = "fused"
CLEANLAB = ("self_confidence", "normalized_margin", "confidence_weighted_entropy")


def suspicions_of_training(
    heads: Logits, fused: npt.NDArray[np.float32], labels: npt.NDArray[Any]
) -> dict[str, Floats]:
    """Return the training loss, and similarity and balance score with their signs reversed, float64 [n] each."""
    logits = {name: torch.from_numpy(z) for name, z in heads.items()}
    loss = training_loss(torch.from_numpy(fused), logits, torch.from_numpy(labels), 1.0, 1.0).double().numpy()
    similarity = prediction_similarity(logits).double().numpy()
    balance = BalanceScore()({"prediction_similarity": similarity, "training_loss": loss})
    return {"loss": loss, "similarity": -similarity, "balance score": -balance}


def suspicions_of_cleanlab(
    heads: Logits, fused: npt.NDArray[np.float32], labels: npt.NDArray[Any]
) -> dict[str, Floats]:
    """Return 1 - label quality by each of cleanlab's scores, on each modality and on the fused prediction."""
    from cleanlab.rank import get_label_quality_scores

    found = {}
    for name, logits in {FUSED: fused, **heads}.items():
        p = torch.from_numpy(logits).double().softmax(dim=1).numpy()
        for method in CLEANLAB:
            found[f"{method} of {name}"] = 1 - get_label_quality_scores(labels, p, method=method)
    return found


def worth(suspicion: Floats, faulty: Bools) -> dict[str, float]:
    """Return average precision, and precision among as many of the most suspicious samples as are faulty.

    Of samples that are equally suspicious, those that are taken are a random draw: the precision is its mean.
    """
    from sklearn.metrics import average_precision_score

    count = int(faulty.sum())
    last = np.sort(suspicion)[-count]
    above, equal = suspicion > last, suspicion == last
    hits = faulty[above].sum() + (count - above.sum()) * faulty[equal].mean()
    return {"ap": float(average_precision_score(faulty, suspicion)), "precision": float(hits / count)}


def best_of(named: Mapping[str, Floats], faulty: Bools) -> tuple[str, Floats]:
    """Return name and values of the suspicion with the highest average precision: a choice that knows the truth."""
    return max(named.items(), key=lambda one: worth(one[1], faulty)["ap"])


def calibration(probability: Floats, faulty: Bools) -> tuple[float, list[list[float]]]:
    """Return the Brier score, and for each of `BINS` equal bins: samples, mean probability, share that is faulty."""
    bins = np.minimum((probability * BINS).astype(int), BINS - 1)
    rows = []
    for number in range(BINS):
        own = bins == number
        count = int(own.sum())
        rows.append([count, float(probability[own].mean()), float(faulty[own].mean())] if count else [0, 0.0, 0.0])
    return float(np.mean((probability - faulty) ** 2)), rows


def share_right(said: list[Any], true: list[Any], where: Bools) -> float | None:
    """Return the share of the samples `where` of which the right thing is said; None if there is none."""
    return float(np.mean([said[i] == true[i] for i in np.flatnonzero(where)])) if where.any() else None
