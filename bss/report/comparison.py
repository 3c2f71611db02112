"""The comparison as numbers: every scheduler against the baseline and the control."""

from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt

from bss.config import Config
from bss.config.combinations import combinations_of, epochs_of
from bss.report.families import compare_family
from bss.report.matrix import matrix_of
from bss.report.results import Result

Results = dict[str, list[Result]]
Comparison = dict[str, Any]

COMPARED = {"test_acc": "test/acc", "last_test_acc": "last/test_acc"}
"""Metrics whose paired differences are tested: at the selected epoch, and at the last one."""
ROLES = (("vs_baseline", "baseline"), ("vs_control", "control"))
"""Maps the key of a scheduler's differences to the key of their reference's name."""


def compare_results(config: Config, results: Results, val_samples: int) -> Comparison:
    """Return the content of comparison.json; `val_samples` is the size of the validation split.

    Per scheduler the mean and standard deviation (ddof = 1) over seeds of each metric (shares in [0, 1]), and the
    paired differences to baseline and control in percentage points. Nothing in it depends on time.
    """
    schedulers: dict[str, Any] = {
        name: {
            key.replace("/", "_"): _mean_and_deviation(values(trials, key))
            for key in trials[0].metrics
            if key != "protocol"
        }
        for name, trials in results.items()
    }
    for key, role in ROLES:
        reference = getattr(config.compare, role)
        names = [name for name in results if reference is not None and name != reference]
        for short, metric in COMPARED.items() if names else ():
            found = compare_family(
                [100 * values(results[name], metric) for name in names],
                100 * values(results[reference], metric),
                config.compare.correction,
                config.compare.margin,
                config.compare.resamples,
            )
            for name, difference in zip(names, found, strict=True):
                schedulers[name].setdefault(key, {})[short] = asdict(difference)
    flops = {name: entry["flops"]["mean"] for name, entry in schedulers.items()}
    matrix = matrix_of(config, {name: 100 * values(trials, "test/acc") for name, trials in results.items()}, flops)
    return {
        "protocol": config.protocol,
        "seeds": len(config.seeds),
        "seed_numbers": list(config.seeds),
        "val_samples": val_samples,
        "baseline": config.compare.baseline,
        "control": config.compare.control,
        "correction": config.compare.correction,
        "margin": config.compare.margin,
        "schedulers": schedulers,
        **({} if not (early := stopped_early(config, results)) else {"stopped_early": early}),
        **({} if matrix is None else {"matrix": matrix}),
    }


def stopped_early(config: Config, results: Results) -> dict[str, int]:
    """Return how many trials of each row ended before their last epoch, for the rows that have any."""
    found = {}
    for row in combinations_of(config):
        made = [trial.metrics["epochs"] for trial in results.get(row.name, []) if "epochs" in trial.metrics]
        found[row.name] = sum(epochs < epochs_of(config, row.strategy) for epochs in made)
    return {name: count for name, count in found.items() if count}


def values(trials: list[Result], metric: str) -> npt.NDArray[np.float64]:
    """Return one metric of each seed, float64 [seeds]."""
    return np.array([trial.metrics[metric] for trial in trials], dtype=np.float64)


def _mean_and_deviation(numbers: npt.NDArray[np.float64]) -> dict[str, float]:
    deviation = float(numbers.std(ddof=1)) if len(numbers) > 1 else 0.0
    return {"mean": float(numbers.mean()), "sd": deviation}
