"""Which schedulers lists show if there are too many for all of them."""

from bss.report.comparison import Comparison

MOST_SHOWN = 20
"""Schedulers that a plot with a line for each, or a screen of the terminal, can hold."""


def shown(comparison: Comparison) -> list[str]:
    """Return all schedulers in the order of params.yaml, or baseline, control and the best of more than `MOST_SHOWN`.

    The best are those with the highest test accuracy.
    """
    names = list(comparison["schedulers"])
    if len(names) <= MOST_SHOWN:
        return names
    references = [name for name in (comparison["baseline"], comparison["control"]) if name is not None]
    kept = [*references, *(name for name in ranked(comparison) if name not in references)][:MOST_SHOWN]
    return [name for name in names if name in kept]


def ranked(comparison: Comparison) -> list[str]:
    """Return all schedulers, the one with the highest test accuracy first; equal ones in the order of params.yaml."""
    schedulers = comparison["schedulers"]
    return sorted(schedulers, key=lambda name: -schedulers[name]["test_acc"]["mean"])


def listed(comparison: Comparison, names: list[str]) -> list[str]:
    """Return `names` in the order of tables: that of params.yaml, or the best first if there are more than fit."""
    few = len(comparison["schedulers"]) <= MOST_SHOWN
    return names if few else [name for name in ranked(comparison) if name in names]
