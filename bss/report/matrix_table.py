"""The matrix of schedulers x strategies as texts."""

from dataclasses import dataclass
from typing import Any

from bss.config.combinations import Combination
from bss.report.comparison import Comparison
from bss.report.cost import operations_text
from bss.report.difference_table import number
from bss.report.factorial import EFFECTS, Effect
from bss.report.families import FEWEST_SEEDS
from bss.report.wording import MOST_LISTED_NAMES, interval, mark, named, points

WORDS: dict[Effect, dict[str, str]] = {
    "order": {"better": "better", "worse": "worse"},
    "strategy": {"better": "better", "worse": "worse"},
    "interaction": {"better": "more than the sum", "worse": "less than the sum"},
    "control": {"better": "better", "worse": "worse"},
    "budget": {"better": "better", "worse": "worse"},
}
"""What a clear difference means."""


@dataclass(frozen=True)
class Cell:
    """A scheduler with a strategy."""

    mean: str
    """Test accuracy in %, with its standard deviation."""
    lines: list[tuple[str, str, bool]]
    """Effect, its difference in points with interval and deciding p, and whether it is clear."""
    cost: str
    height: float
    """Where the accuracy lies between the lowest and the highest of the matrix, in [0, 1]."""


def matrix_rows(comparison: Comparison, times: dict[str, float]) -> list[tuple[str, list[Cell | None]]]:
    """Return each scheduler with a cell per strategy, in the order of params.yaml; None for what was not trained."""
    matrix, entries = comparison["matrix"], comparison["schedulers"]
    means = [entries[name]["test_acc"]["mean"] for name in matrix["cells"]]
    low, span = min(means), (max(means) - min(means)) or 1.0

    def cell(name: str) -> Cell:
        effects, entry = matrix["cells"][name]["effects"], entries[name]
        test = entry["test_acc"]
        return Cell(
            f"{100 * test['mean']:.2f} ± {100 * test['sd']:.2f}",
            [(effect, _line(effects[effect]), _clear(effects[effect])) for effect in EFFECTS if effect in effects],
            f"{operations_text(comparison, name)} operations, {times[name]:.1f} s",
            (test["mean"] - low) / span,
        )

    return [
        (scheduler, [None if name is None else cell(name) for name in names])
        for scheduler, names in _grid(matrix).items()
    ]


def compact_rows(comparison: Comparison) -> dict[str, list[str]]:
    """Return each scheduler with a text per strategy: accuracy, and the sign of each clear effect.

    ``81.2 o+ s- i+``: the order helps, the strategy harms, and the two together give more than their sum.
    """
    matrix = comparison["matrix"]

    def text(name: str) -> str:
        effects = matrix["cells"][name]["effects"]
        signs = [
            effect[0] + ("+" if effects[effect]["difference"] > 0 else "-")
            for effect in EFFECTS
            if effect in effects and _clear(effects[effect])
        ]
        return " ".join([f"{100 * comparison['schedulers'][name]['test_acc']['mean']:.2f}", *signs])

    return {
        scheduler: ["-" if name is None else text(name) for name in names] for scheduler, names in _grid(matrix).items()
    }


def effect_rows(comparison: Comparison) -> list[dict[str, Any]]:
    """Return a row per cell and effect: what it is against, and the difference in points with all its statistics."""
    return [
        {
            **{"scheduler": cell["scheduler"], "strategy": cell["strategy"], "effect": effect},
            **{"reference": _reference(comparison["matrix"], cell, effect)},
            **cell["effects"][effect],
        }
        for effect in EFFECTS
        for cell in comparison["matrix"]["cells"].values()
        if effect in cell["effects"]
    ]


def effect_titles(comparison: Comparison) -> list[str]:
    """Return the titles of `effect_texts`."""
    corrected = ["corrected"] if comparison["correction"] == "max-t" else []
    return ["scheduler", "strategy", "effect", "against", "difference", "sd", "p", *corrected, "verdict", "seeds"]


def effect_texts(comparison: Comparison) -> list[list[str]]:
    """Return `effect_rows` as texts; ``-`` if there are too few seeds."""
    return [
        [
            *(row["scheduler"], row["strategy"], row["effect"], row["reference"], interval(row)),
            *(number(row["sd"], 2), number(row["p"], 4)),
            *([number(row["p_corrected"], 4)] if comparison["correction"] == "max-t" else []),
            WORDS[row["effect"]].get(row["verdict"], row["verdict"].replace("-", " the ")),
            number(row["seeds_needed"], 0),
        ]
        for row in effect_rows(comparison)
    ]


def matrix_findings(comparison: Comparison) -> list[str]:
    """Return a sentence for each effect; nothing with too few seeds."""
    if comparison["seeds"] < FEWEST_SEEDS:
        return []
    matrix, lines = comparison["matrix"], []
    heads = {
        "order": f"Order, against {matrix['baseline']} with the same strategy",
        "strategy": f"Strategy, against {matrix['plain']} with the same scheduler",
        "interaction": "Interaction, order and strategy together against the sum of both",
        "control": "Strategy, against its simplest explanation with the same scheduler",
        "budget": "Strategy, against plain training at equal compute with the same scheduler",
    }
    for effect in EFFECTS:
        found = {name: cell["effects"][effect] for name, cell in matrix["cells"].items() if effect in cell["effects"]}
        parts = []
        for verdict, word in WORDS[effect].items():
            sign = -1 if verdict == "better" else 1  # the largest first
            names = sorted(
                (n for n in found if found[n]["verdict"] == verdict), key=lambda n: sign * found[n]["difference"]
            )
            parts += [f"{word}: {named(names, MOST_LISTED_NAMES)}"] if names else []
        within = sum(one["verdict"] == "within-margin" for one in found.values())
        open_ones = sum(one["verdict"] == "inconclusive" for one in found.values())
        parts += [f"{within} within {points(comparison['margin'])}"] if within else []
        parts += [f"{open_ones} inconclusive"] if open_ones else []
        if parts:
            lines.append(f"{heads[effect]}: {'; '.join(parts)}.")
    return lines


def _grid(matrix: dict[str, Any]) -> dict[str, list[str | None]]:
    """Return each scheduler with the name of its combination with each strategy; None for what was not trained."""
    return {
        scheduler: [
            name if (name := Combination(scheduler, strategy).name) in matrix["cells"] else None
            for strategy in matrix["strategies"]
        ]
        for scheduler in matrix["schedulers"]
    }


def _reference(matrix: dict[str, Any], cell: dict[str, Any], effect: Effect) -> str:
    name = Combination(cell["scheduler"], cell["strategy"]).name
    return {
        "order": Combination(matrix["baseline"], cell["strategy"]).name,
        "strategy": Combination(cell["scheduler"], matrix["plain"]).name,
        "interaction": "the sum",
        "control": Combination(cell["scheduler"], matrix["controls"].get(cell["strategy"], "")).name,
        "budget": Combination(cell["scheduler"], matrix["budgets"].get(name, "")).name,
    }[effect]


def _line(difference: dict[str, Any]) -> str:
    p = difference["p"] if difference["p_corrected"] is None else difference["p_corrected"]
    text = f"{interval(difference)} {mark(difference)}".rstrip()
    return text + ("" if p is None else f", p {p:.3f}")


def _clear(difference: dict[str, Any]) -> bool:
    return difference["verdict"] in ("better", "worse")
