"""The matrix of schedulers x strategies in comparison.json."""

from dataclasses import asdict
from typing import Any

import numpy as np

from bss.config import Config
from bss.config.combinations import PLAIN, combinations_of
from bss.report.controls import missing_controls, trained_controls
from bss.report.factorial import factorial_differences
from bss.report.families import decide_family
from bss.report.statistics import Floats


def matrix_of(config: Config, accuracies: dict[str, Floats]) -> dict[str, Any] | None:
    """Return the matrix of the rows' test accuracies [seeds] in percent; None with a single strategy.

    Each cell has what the order, the strategy and their interaction add, and what the strategy adds to its control, in
    points (`factorial_differences`). ``controls`` and ``missing_controls`` are those of `bss.report.controls`. The
    baseline scheduler is that of ``compare.baseline``. All cells of an effect are one family.
    """
    rows = {combination: accuracies[combination.name] for combination in combinations_of(config)}
    strategies = list(dict.fromkeys(combination.strategy for combination in rows))
    if len(strategies) == 1:
        return None
    baseline = config.compare.baseline.partition("+")[0]
    cells: dict[str, dict[str, Any]] = {combination.name: {} for combination in rows}
    compare = config.compare
    controls = trained_controls(config.strategies, strategies)
    for effect, differences in factorial_differences(rows, baseline, PLAIN, controls).items():
        if differences:
            rows_of_family = np.stack(list(differences.values()))
            found = decide_family(rows_of_family, compare.correction, compare.margin, compare.resamples)
            for combination, difference in zip(differences, found, strict=True):
                cells[combination.name][effect] = asdict(difference)
    return {
        "baseline": baseline,
        "plain": PLAIN,
        "schedulers": list(dict.fromkeys(combination.scheduler for combination in rows)),
        "strategies": strategies,
        "controls": controls,
        "missing_controls": missing_controls(config.strategies, strategies),
        "cells": {c.name: {"scheduler": c.scheduler, "strategy": c.strategy, "effects": cells[c.name]} for c in rows},
    }
