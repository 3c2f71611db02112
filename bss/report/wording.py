"""Phrases that the sentences and tables of the comparison share."""

from typing import Any

from bss.report.comparison import Comparison

MOST_NAMED = 3
"""Schedulers that the one sentence of the report names; it counts the rest."""
MOST_LISTED_NAMES = 6
"""The same in other lists."""


def more_seeds(comparison: Comparison, count: int) -> str:
    """Return the command that runs the pipeline with `count` seeds; finished trials are kept."""
    seeds = list(comparison["seed_numbers"])
    unused = (seed for seed in range(len(seeds) + count) if seed not in comparison["seed_numbers"])
    seeds += [next(unused) for _ in range(count - len(seeds))]
    return f"dvc exp run -S 'seeds=[{','.join(map(str, seeds))}]'"


def interval(difference: dict[str, Any]) -> str:
    """Return a difference in points with its interval, such as ``+1.20 [+0.30, +2.10]``."""
    text = f"{difference['difference']:+.2f}"
    if difference["low"] is None:
        return text
    if difference["sd"] == 0:
        return f"{text} in every seed"
    return f"{text} [{difference['low']:+.2f}, {difference['high']:+.2f}]"


def mark(difference: dict[str, Any]) -> str:
    """Return the sign of a verdict in a table: * for better or worse, = for within the margin, or a space."""
    return {"better": "*", "worse": "*", "within-margin": "="}.get(difference["verdict"], " ")


def wanted_seeds(difference: dict[str, Any], comparison: Comparison) -> int | None:
    """Return the larger number of seeds that would probably resolve inconclusive results; None if unknown."""
    if difference["verdict"] != "inconclusive" or difference["seeds_needed"] is None:
        return None
    return max(difference["seeds_needed"], comparison["seeds"] + 2)


def points(number: float) -> str:
    """Return a number of points in words, such as ``1.5 points``."""
    return f"{number:g} point" if number == 1 else f"{number:g} points"


def named(names: list[str], most: int = MOST_NAMED) -> str:
    """Return a list in words: ``a, b and c``; beyond `most` names ``a, b, c and 4 more``."""
    kept, more = names[:most], len(names) - most
    parts = [*kept, f"{more} more"] if more > 0 else kept
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
