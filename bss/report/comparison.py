"""The comparison as numbers: every scheduler against the baseline and the control."""

from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt

from bss.config import Config
from bss.report.results import Result
from bss.report.statistics import paired_difference

Results = dict[str, list[Result]]
Comparison = dict[str, Any]

COMPARED = {"test_acc": "test/acc", "last_test_acc": "last/test_acc"}
"""Metrics whose paired differences are tested: at the selected epoch, and at the last one."""

FEWEST_SEEDS = 6
"""With fewer the sign-flip test cannot reach `SIGNIFICANT`: its least p is 0.0625 with 5 seeds."""
SIGNIFICANT = 0.05
"""Greatest p of a difference that is called one."""


def compare_results(config: Config, results: Results) -> Comparison:
    """Return the content of comparison.json.

    Per scheduler the mean and deviation over seeds of each metric (shares in [0, 1]), and the paired
    differences to baseline and control in percentage points. Nothing in it depends on time.
    """
    references = {"vs_baseline": config.compare.baseline, "vs_control": config.compare.control}
    schedulers = {}
    for name, cells in results.items():
        entry: dict[str, Any] = {
            key.replace("/", "_"): _mean_and_deviation(values(cells, key))
            for key in cells[0].metrics
            if key != "protocol"
        }
        for key, reference in references.items():
            if reference is None or reference == name:
                continue
            entry[key] = {
                short: asdict(
                    paired_difference(
                        100 * values(cells, metric),
                        100 * values(results[reference], metric),
                        config.compare.resamples,
                    )
                )
                for short, metric in COMPARED.items()
            }
        schedulers[name] = entry
    return {
        "protocol": config.protocol,
        "seeds": len(config.seeds),
        "baseline": config.compare.baseline,
        "control": config.compare.control,
        "schedulers": schedulers,
    }


def values(cells: list[Result], metric: str) -> npt.NDArray[np.float64]:
    """Return one metric of each seed, float64 [seeds]."""
    return np.array([cell.metrics[metric] for cell in cells], dtype=np.float64)


ROLES = (("vs_baseline", "baseline"), ("vs_control", "control"))
"""Key of a scheduler's differences, and of the name of what they are to."""


def verdicts(comparison: Comparison) -> list[str]:
    """Say in plain words what to be careful about and what was found for each scheduler."""
    return cautions(comparison) + findings(comparison)


def cautions(comparison: Comparison) -> list[str]:
    """Say what keeps the numbers from being taken at their word."""
    lines = []
    if comparison["protocol"] == "published":
        lines.append(
            "Selected on the test split (protocol published): comparable with published tables only, and optimistic."
        )
    if comparison["seeds"] < FEWEST_SEEDS:
        lines.append(f"Seeds: {comparison['seeds']}, too few for a verdict; {FEWEST_SEEDS} or more are needed.")
    return lines


def findings(comparison: Comparison) -> list[str]:
    """Say what was found for each scheduler but the control; nothing where there are too few seeds."""
    if comparison["seeds"] < FEWEST_SEEDS:
        return []
    lines = []
    for name, entry in comparison["schedulers"].items():
        parts = [_verdict(entry[key]["test_acc"], comparison[role]) for key, role in ROLES if key in entry]
        if parts and name != comparison["control"]:
            lines.append(f"{name}: {', '.join(parts)}.")
    return lines


def headlines(comparison: Comparison) -> list[str]:
    """Sum up the findings, one sentence for the baseline and one for the control."""
    if comparison["seeds"] < FEWEST_SEEDS:
        return []
    references = [comparison[role] for _, role in ROLES]
    lines = []
    for key, role in ROLES:
        found: dict[str, list[str]] = {"better": [], "worse": [], "unclear": []}
        for name, entry in comparison["schedulers"].items():
            if name not in references and key in entry:
                found[_direction(entry[key]["test_acc"])].append(name)
        unclear = found.pop("unclear")
        parts = [f"{word}: {', '.join(names)}" for word, names in found.items() if names]
        if unclear:
            parts.append(f"no difference shown: {', '.join(unclear)}")
        if parts:
            lines.append(f"Against {comparison[role]}, {'; '.join(parts)}.")
    return lines


def is_clear(difference: dict[str, float | None]) -> bool:
    """Tell whether the interval excludes 0 and the test agrees.

    The bootstrap interval of a few differences is too narrow, so it does not decide alone.
    """
    low, high, p = difference["low"], difference["high"], difference["p"]
    if low is None or high is None or p is None:
        return False
    return (low > 0 or high < 0) and p <= SIGNIFICANT


def interval(difference: dict[str, float | None]) -> str:
    """Return a difference in points with its interval, such as ``+1.2 [+0.3, +2.0]``."""
    text = f"{difference['difference']:+.2f}"
    if difference["low"] is None:
        return text
    return f"{text} [{difference['low']:+.2f}, {difference['high']:+.2f}]"


def _verdict(difference: dict[str, float | None], reference: str) -> str:
    word = _direction(difference)
    found = f"no difference to {reference} shown" if word == "unclear" else f"{word} than {reference}"
    return f"{found} ({interval(difference)}{_p(difference)})"


def _direction(difference: dict[str, float | None]) -> str:
    if not is_clear(difference):
        return "unclear"
    assert difference["difference"] is not None
    return "better" if difference["difference"] > 0 else "worse"


def _p(difference: dict[str, float | None]) -> str:
    return "" if difference["p"] is None else f", p = {difference['p']:.3f}"


def _mean_and_deviation(numbers: npt.NDArray[np.float64]) -> dict[str, float]:
    deviation = float(numbers.std(ddof=1)) if len(numbers) > 1 else 0.0
    return {"mean": float(numbers.mean()), "sd": deviation}
