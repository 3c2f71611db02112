"""Accuracy against cost: which combinations nothing beats at their price."""

from typing import Any

import numpy as np
import numpy.typing as npt

from bss.report.comparison import Comparison
from bss.report.drawing import INK, PALETTE, colours, legend, mark_series, panels

MARKERS = "osD^vPX<>*"
"""One per scheduler; from the eleventh on they repeat."""
UNITS = {"operations": "floating-point operations", "seconds": "seconds"}
"""Of what a training costs: counted operations, which no machine changes, and the time that it took."""
LOGARITHMIC = 8.0
"""From this ratio of the highest cost to the lowest, the axis is logarithmic."""


def pareto_front(costs: npt.ArrayLike, values: npt.ArrayLike) -> list[int]:
    """Return the places of the points that no other dominates, the cheapest first; equal points stay together.

    A point dominates another that costs as much or more and has the same or a lower value, unless both are equal.
    """
    cost, value = np.asarray(costs, dtype=np.float64), np.asarray(values, dtype=np.float64)
    front, best, best_cost = [], -np.inf, np.nan
    for place in np.lexsort((-value, cost)).tolist():
        if value[place] > best or (value[place] == best and cost[place] == best_cost):
            front.append(place)
            best, best_cost = value[place], cost[place]
    return front


def cost_titles() -> list[str]:
    """Return the titles of `cost_texts`."""
    return ["scheduler", "strategy", "test accuracy, %", "operations", "seconds", "steps", "on the front"]


def cost_rows(comparison: Comparison, times: dict[str, float]) -> list[dict[str, Any]]:
    """Return a row per combination: mean accuracy in [0, 1], mean cost of a training, and its fronts.

    The cost is in floating-point operations, also as a multiple of the same scheduler's plain training (None if that
    was not trained), in seconds and in steps. The fronts are those of operations and of seconds.
    """
    cells, entries = comparison["matrix"]["cells"], comparison["schedulers"]
    fronts = front_names(comparison, times)
    return [
        {
            "scheduler": cell["scheduler"],
            "strategy": cell["strategy"],
            "test_acc": entries[name]["test_acc"]["mean"],
            "flops": entries[name]["flops"]["mean"],
            "of_plain": _of_plain(comparison, name),
            "seconds": times[name],
            "steps": entries[name]["steps"]["mean"],
            **{f"front_{unit}": name in names for unit, names in fronts.items()},
        }
        for name, cell in cells.items()
    ]


def cost_texts(comparison: Comparison, times: dict[str, float]) -> list[list[str]]:
    """Return `cost_rows` as texts."""
    names = comparison["matrix"]["cells"]
    return [
        [
            *(row["scheduler"], row["strategy"], f"{100 * row['test_acc']:.2f}"),
            *(operations_text(comparison, name), f"{row['seconds']:.1f}", f"{row['steps']:.0f}"),
            " and ".join(unit for unit in ("operations", "seconds") if row[f"front_{unit}"]) or "-",
        ]
        for name, row in zip(names, cost_rows(comparison, times), strict=True)
    ]


def operations_text(comparison: Comparison, name: str) -> str:
    """Return the mean operations of a training of a combination, and what multiple of plain training they are."""
    multiple = _of_plain(comparison, name)
    text = f"{comparison['schedulers'][name]['flops']['mean']:.3g}"
    return text if multiple is None else f"{text} (x{multiple:.2f})"


def front_names(comparison: Comparison, times: dict[str, float]) -> dict[str, list[str]]:
    """Return the combinations on the fronts of operations and of seconds, in the order of `cost_plot`."""
    names = list(comparison["matrix"]["cells"])
    accuracy = [comparison["schedulers"][name]["test_acc"]["mean"] for name in names]
    return {
        unit: [names[place] for place in pareto_front(cost, accuracy)]
        for unit, cost in _costs(comparison, times).items()
    }


def cost_plot(comparison: Comparison, times: dict[str, float]) -> str:
    """Plot mean test accuracy against operations and against seconds; the points of each Pareto front are numbered."""
    matrix = comparison["matrix"]
    palette = colours(matrix["strategies"])
    names = list(matrix["cells"])
    accuracy = [100 * comparison["schedulers"][name]["test_acc"]["mean"] for name in names]
    label = (
        "Test accuracy of each scheduler with each strategy against what a training costs, in operations and seconds"
    )
    with panels(10.5, 4.6, label, 1, 2) as (drawn, finish):
        for axes, (unit, cost) in zip(drawn, _costs(comparison, times).items(), strict=True):
            front = pareto_front(cost, accuracy)
            axes.step([cost[i] for i in front], [accuracy[i] for i in front], where="post", color=INK, linewidth=1)
            for i, name in enumerate(names):
                cell = matrix["cells"][name]
                marker = MARKERS[matrix["schedulers"].index(cell["scheduler"]) % len(MARKERS)]
                edge = INK if i in front else "none"
                (point,) = axes.plot(
                    *(cost[i], accuracy[i], marker),
                    **{
                        "color": palette[cell["strategy"]],
                        "markersize": 8 if i in front else 5,
                        "markeredgecolor": edge,
                    },
                )
                mark_series(point, matrix["strategies"].index(cell["strategy"]))
            for place, i in enumerate(front, 1):
                axes.annotate(
                    str(place), (cost[i], accuracy[i]), (-3, 7), textcoords="offset points", fontweight="bold"
                )
            axes.margins(x=0.1, y=0.12)
            axes.set_xlabel(f"{UNITS[unit]} per training")
            if max(cost) > LOGARITHMIC * min(cost):
                axes.set_xscale("log")
        drawn[0].set_ylabel("test accuracy, %")
        for strategy, colour in palette.items():
            drawn[-1].plot([], [], "o", color=colour, label=strategy)
        legend(drawn[-1])
        for scheduler, marker in zip(matrix["schedulers"], MARKERS * len(matrix["schedulers"]), strict=False):
            drawn[0].plot([], [], marker, color=PALETTE[0], markerfacecolor="none", label=scheduler)
        drawn[0].figure.legend(
            *drawn[0].get_legend_handles_labels(), loc="outside lower center", ncols=6, frameon=False, fontsize=8
        )
        return finish()


def _of_plain(comparison: Comparison, name: str) -> float | None:
    entries, plain = comparison["schedulers"], comparison["matrix"]["cells"][name]["scheduler"]
    if plain not in entries:
        return None
    multiple: float = entries[name]["flops"]["mean"] / entries[plain]["flops"]["mean"]
    return multiple


def _costs(comparison: Comparison, times: dict[str, float]) -> dict[str, list[float]]:
    names = list(comparison["matrix"]["cells"])
    return {
        "operations": [comparison["schedulers"][name]["flops"]["mean"] for name in names],
        "seconds": [times[name] for name in names],
    }
