"""What the trials and the scores show besides the verdicts: the facts from which the next steps follow."""

from dataclasses import asdict, replace
from itertools import combinations
from typing import Any

import numpy as np

from bss.config import Config
from bss.config.combinations import combinations_of
from bss.report.comparison import Results, values
from bss.report.families import compare_family
from bss.report.results import Result, by_seed
from bss.report.statistics import Floats, t_interval

PARTS = 5
"""The rise at the end compares the last of this many parts of the epochs with the one before."""


def observe(config: Config, results: Results, scores: Floats, counts: dict[str, int]) -> dict[str, Any]:
    """Return the facts, as values for comparison.json.

    `scores` are the balance scores of the training samples after the warm-up, [seeds, n]; `counts` are the samples of
    each split, with the number of classes under ``classes``. Numbers are of ``compare.baseline``, in points: a mean
    over seeds with its 95 % t-interval (None for one seed). A fact that does not apply is None.
    """
    trials = results[config.compare.baseline]
    test = 100 * values(trials, "test/acc")
    has_val = "val/acc" in trials[0].metrics
    return {
        "counts": counts,
        "test": estimate(test),
        "val_above_test": estimate(100 * values(trials, "val/acc") - test) if has_val else None,
        "rise": rise(trials),
        "lost_at_end": estimate(test - 100 * values(trials, "last/test_acc")),
        "selected_epoch": float(values(trials, "selected_epoch").mean()) + 1,
        "best_head": best_head(trials, list(config.network.encoders)),
        "scores": {"spread": spread(scores[0]), "agreement": agreement(scores)},
        "trimmed": trimmed(config, results),
        "training": {
            "epochs": config.train.epochs,
            "decay_at": list(getattr(config.train.decay, "at", ())),
            "learning_rate": config.train.optimiser.learning_rate,
            "weight_decay": config.train.optimiser.weight_decay,
            "warmup_epochs": config.measure.warmup_epochs,
        },
        "strategies": sorted({strategy.kind for strategy in config.strategies.values()}),
        "names": list(config.strategies),
        "combinations": None if config.combinations is None else list(config.combinations),
    }


def estimate(numbers: Floats) -> dict[str, float | None]:
    """Return the mean of `numbers` [seeds] with the ends of its 95 % t-interval; None for those of one seed."""
    low, high = (None, None) if len(numbers) < 2 else (float(end) for end in t_interval(numbers))
    return {"mean": float(numbers.mean()), "low": low, "high": high}


def rise(trials: list[Result]) -> dict[str, Any] | None:
    """Return how much the watched accuracy rose from one fifth of the epochs to the next, the last, in points.

    None with fewer than two epochs per fifth.
    """
    curves = 100 * by_seed(trials, f"{trials[0].watched}/acc")
    length = curves.shape[1] // PARTS
    if length < 2:
        return None
    last, before = curves[:, -length:].mean(axis=1), curves[:, -2 * length : -length].mean(axis=1)
    return estimate(last - before) | {"epochs": length, "split": trials[0].watched}


def best_head(trials: list[Result], modalities: list[str]) -> dict[str, Any] | None:
    """Return the modality whose head is best on test, and by how much all modalities together are better, in points."""
    heads = {name: values(trials, f"test/acc_{name}") for name in modalities if f"test/acc_{name}" in trials[0].metrics}
    if not heads:
        return None
    best = max(heads, key=lambda name: float(heads[name].mean()))
    return {
        "modality": best,
        "accuracy": 100 * float(heads[best].mean()),
        "fused_above": estimate(100 * (values(trials, "test/acc") - heads[best])),
    }


def spread(scores: Floats) -> float:
    """Return the width of the middle half of `scores` [n] as a share of their range, in [0, 1]; 0 if all are equal."""
    low, high = scores.min(), scores.max()
    quarter, three = np.quantile(scores, [0.25, 0.75])
    return 0.0 if high == low else float((three - quarter) / (high - low))


def agreement(scores: Floats) -> float | None:
    """Return the mean rank correlation (Spearman) of the `scores` [seeds, n] of two seeds; None for one seed.

    Equal scores have a correlation of 0 with any others.
    """
    from scipy import stats

    if len(scores) < 2:
        return None
    ranks = stats.rankdata(scores, axis=1)
    ranks -= ranks.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(ranks, axis=1, keepdims=True)
    units = np.divide(ranks, norms, out=np.zeros_like(ranks), where=norms > 0)
    # Not by `@`: the last digit of BLAS depends on the machine and its threads.
    return float(np.mean([(units[a] * units[b]).sum() for a, b in combinations(range(len(units)), 2)]))


def trimmed(config: Config, results: Results) -> list[dict[str, Any]]:
    """Return each row that leaves out samples against the row that differs only in keeping them: one family."""
    entries = config.schedule.schedulers
    pairs = []
    for row in combinations_of(config):
        entry: Any = entries[row.scheduler]
        if getattr(entry, "trim", 0.0) > 0:
            whole = replace(entry, trim=0.0)
            names = [row._replace(scheduler=name).name for name, other in entries.items() if other == whole]
            pairs += [(row.name, name) for name in names if name in results]
    if not pairs:
        return []
    first, second = (np.array([100 * values(results[pair[i]], "test/acc") for pair in pairs]) for i in (0, 1))
    compare = config.compare
    found = compare_family(
        first - second, np.zeros(first.shape[1]), compare.correction, compare.margin, compare.resamples
    )
    return [
        {"scheduler": pair[0], "kept": pair[1]} | asdict(difference)
        for pair, difference in zip(pairs, found, strict=True)
    ]
