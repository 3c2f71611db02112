"""Contributions of the modalities to single training samples, beside the balance score."""

from pathlib import Path

import numpy as np

from bss.artifacts.contributions import read_contributions
from bss.artifacts.scores import read_scores, scores_path
from bss.config import Config
from bss.data.store import Store
from bss.report.comparison import Results
from bss.report.observations import agreement
from bss.report.results import Result
from bss.report.statistics import Floats


def score_correlations(config: Config, store: Store, scores: Path, results: Results) -> dict[str, Floats] | None:
    """Return for each row the rank correlation of the balance score with how far apart contributions lie, [seeds].

    The score is the one after the warm-up (if any) of the same seed; how far apart is the greatest contribution to a
    sample less the least. A constant has a correlation of 0 with anything. None if contributions are not recorded.
    """
    apart = {name: [_apart(trial, store) for trial in trials] for name, trials in results.items()}
    if any(spread is None for row in apart.values() for spread in row):
        return None
    measured = [read_scores(scores_path(scores, seed, "warm-up"), store) for seed in config.seeds]
    return {
        name: np.array([agreement(np.array(pair)) for pair in zip(measured, row, strict=True)], dtype=np.float64)
        for name, row in apart.items()
    }


def mean_contributions(trials: list[Result], store: Store) -> dict[str, Floats]:
    """Return each modality's contribution to the training samples, mean over seeds, [n]; empty if not recorded."""
    found = [read for trial in trials if (read := read_contributions(trial.folder, store)) is not None]
    if len(found) < len(trials):
        return {}
    return {name: np.mean([of[name] for of in found], axis=0) for name in store.modalities}


def _apart(trial: Result, store: Store) -> Floats | None:
    read = read_contributions(trial.folder, store)
    if read is None:
        return None
    every = np.array(list(read.values()))
    apart: Floats = every.max(axis=0) - every.min(axis=0)
    return apart
