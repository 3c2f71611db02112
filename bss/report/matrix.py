"""The matrix of schedulers x strategies in comparison.json."""

from dataclasses import asdict
from typing import Any

import numpy as np

from bss.config import Config
from bss.config.combinations import PLAIN, combinations_of
from bss.report.controls import equal_compute, missing_controls, trained_controls
from bss.report.factorial import factorial_differences
from bss.report.families import decide_family
from bss.report.statistics import Floats


def matrix_of(config: Config, accuracies: dict[str, Floats], flops: dict[str, float]) -> dict[str, Any] | None:
    """Return the matrix of the rows' test accuracies [seeds] in percent; None with a single strategy.

    Each cell has what the order, the strategy and their interaction add, and what the strategy adds to its controls, in
    points (`factorial_differences`). The controls, by their kind of comparison and of what is missing, are those of
    `bss.report.controls`, given the mean `flops` of a trial of each row. The baseline scheduler is that of
    ``compare.baseline``. All cells of an effect are one family.
    """
    rows = {combination: accuracies[combination.name] for combination in combinations_of(config)}
    strategies = list(dict.fromkeys(combination.strategy for combination in rows))
    if len(strategies) == 1:
        return None
    baseline = config.compare.baseline.partition("+")[0]
    cells: dict[str, dict[str, Any]] = {combination.name: {} for combination in rows}
    compare, loss_weights = config.compare, config.network.loss_weights
    controls = trained_controls(config.strategies, strategies, loss_weights)
    operations = {combination: flops[combination.name] for combination in rows}
    budgets, missing_budgets = equal_compute(config.strategies, operations, PLAIN)
    for effect, differences in factorial_differences(rows, baseline, PLAIN, controls, budgets).items():
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
        "missing_controls": missing_controls(config.strategies, strategies, loss_weights),
        "budgets": {combination.name: name for combination, name in budgets.items()},
        "missing_budgets": missing_budgets,
        "cells": {c.name: {"scheduler": c.scheduler, "strategy": c.strategy, "effects": cells[c.name]} for c in rows},
    }
