"""The forest plot: every difference with its interval, its verdict and the margin."""

from typing import Any

from bss.report.comparison import ROLES, Comparison
from bss.report.drawing import PALETTE, PAPER, colours, panels
from bss.report.selection import listed, shown

WORDS = {"better": "better", "worse": "worse", "within-margin": "no difference", "inconclusive": "inconclusive"}
"""Verdicts beside the intervals; "no difference" is one within the margin."""
LOW = 24
"""Rows up to which the plot is spaced generously."""


def forest_plot(comparison: Comparison, metric: str) -> str | None:
    """Plot the differences of `metric` to baseline and control side by side; None if there are none.

    Points are filled for better and worse, and hollow otherwise.
    """
    schedulers = comparison["schedulers"]
    roles = [(key, role) for key, role in ROLES if any(key in entry for entry in schedulers.values())]
    names = [name for name in listed(comparison, list(schedulers)) if any(key in schedulers[name] for key, _ in roles)]
    if not roles:
        return None
    palette = colours(shown(comparison))
    references = " and ".join(comparison[role] for _, role in roles)
    label = f"Differences of each scheduler to {references} in points, with their 95 % intervals"
    height = 0.75 + (0.34 if len(names) <= LOW else 0.2) * len(names)
    width = 10.5 if len(roles) > 1 else 8.0
    with panels(width, height, label, 1, len(roles)) as (drawn, finish):
        for axes, (key, role) in zip(drawn, roles, strict=True):
            texts = []
            for y, name in enumerate(names):
                found = schedulers[name].get(key)
                texts.append("" if found is None else _text(found[metric]))
                if found is not None:
                    _row(axes, y, found[metric], palette.get(name, PALETTE[0]))
            axes.axvline(0, color="#888888", linewidth=1, zorder=0)
            axes.axvspan(-comparison["margin"], comparison["margin"], color="#888888", alpha=0.15, linewidth=0)
            axes.set_title(f"against {comparison[role]}", loc="left", fontweight="bold")
            axes.set_xlabel("points of test accuracy")
            axes.secondary_yaxis("right").set_yticks(range(len(names)), texts, fontsize=8)
        drawn[0].set_yticks(range(len(names)), names)
        drawn[0].set_ylim(len(names) - 0.4, -0.6)
        for axes in drawn:
            axes.tick_params(axis="y", length=0)
            for child in axes.child_axes:
                child.tick_params(length=0)
                child.spines["right"].set_visible(False)
        return finish()


def _row(axes: Any, y: int, difference: dict[str, Any], colour: str) -> None:
    decided = difference["verdict"] in ("better", "worse")
    if difference["low"] is not None:
        axes.plot([difference["low"], difference["high"]], [y, y], color=colour, linewidth=2.4)
    face = colour if decided else PAPER
    axes.plot(difference["difference"], y, "o", color=colour, markerfacecolor=face, markeredgewidth=1.6)


def _text(difference: dict[str, Any]) -> str:
    """Return the verdict with the p-value that decides it, such as ``better, p 0.008``."""
    p = difference["p"] if difference["p_corrected"] is None else difference["p_corrected"]
    return WORDS[difference["verdict"]] + ("" if p is None else f", p {p:.3f}")
