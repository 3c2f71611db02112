"""A finished matrix of schedulers x strategies as Markdown, a table per scheduler."""

from pathlib import Path
from typing import Any

from bss.files import read_json
from bss.report.comparison import Comparison
from bss.report.cost import cost_rows
from bss.report.factorial import EFFECTS, Effect
from bss.report.markdown import markdown_table
from bss.report.matrix_table import matrix_findings
from bss.report.wording import interval

TITLES: dict[Effect, str] = {
    "order": "order",
    "strategy": "strategy",
    "interaction": "interaction",
    "control": "against its control",
    "budget": "at equal compute",
}


def read_matrix(report: Path) -> str:
    """Return the matrix of the comparison in the folder `report`; raises `BssError` without one."""
    comparison = read_json(report / "comparison.json", "compare", {"schedulers": dict, "matrix": dict})
    return matrix_page(comparison, read_json(report / "times.json", "compare"))


def matrix_page(comparison: Comparison, times: dict[str, float]) -> str:
    """Return what is found, a table per scheduler, and a legend; `times` are the mean seconds of each row."""
    matrix, costs = comparison["matrix"], {(r["scheduler"], r["strategy"]): r for r in cost_rows(comparison, times)}
    shown = [effect for effect in EFFECTS if any(effect in cell["effects"] for cell in matrix["cells"].values())]
    parts = [f"- {line}" for line in matrix_findings(comparison)]
    found = ["\n".join(parts)] if parts else []
    head = ["strategy", "test accuracy, %", *(TITLES[effect] for effect in shown), "operations"]
    for scheduler in matrix["schedulers"]:
        rows = [
            _row(comparison, name, cell, costs[scheduler, cell["strategy"]], shown)
            for name, cell in matrix["cells"].items()
            if cell["scheduler"] == scheduler
        ]
        found += [f"### {scheduler}", markdown_table(head, rows)]
    return "\n\n".join([*found, _legend(comparison, shown)])


def _row(
    comparison: Comparison, name: str, cell: dict[str, Any], cost: dict[str, Any], shown: list[Effect]
) -> list[str]:
    test, of_plain = comparison["schedulers"][name]["test_acc"], cost["of_plain"]
    return [
        cell["strategy"],
        f"{100 * test['mean']:.2f} ± {100 * test['sd']:.2f}",
        *(_difference(comparison["matrix"], name, cell, effect) for effect in shown),
        f"{cost['flops']:.3g}" if of_plain is None else f"x{of_plain:.2f}",
    ]


def _difference(matrix: dict[str, Any], name: str, cell: dict[str, Any], effect: Effect) -> str:
    if effect not in cell["effects"]:
        return "-"
    one = cell["effects"][effect]
    reference = {"control": matrix["controls"].get(cell["strategy"]), "budget": matrix["budgets"].get(name)}.get(effect)
    p = one["p"] if one["p_corrected"] is None else one["p_corrected"]
    number, _, rest = interval(one).partition(" ")
    clear = one["verdict"] in ("better", "worse")
    text = f"{f'**{number}**' if clear else number} {rest}".rstrip()
    text += " =" if one["verdict"] == "within-margin" else ""
    return (f"{reference}: " if reference else "") + text + ("" if p is None else f", p {p:.3f}")


def _legend(comparison: Comparison, shown: list[Effect]) -> str:
    matrix = comparison["matrix"]
    corrected = ", corrected for all cells of a column over all tables (max-T)"
    texts: dict[Effect, str] = {
        "order": f"the order against {matrix['baseline']} with the same strategy",
        "strategy": f"the strategy against {matrix['plain']} with the same scheduler",
        "interaction": "both together against the sum of the two",
        "control": "the strategy against its simplest explanation, which is named, with the same scheduler",
        "budget": "the strategy against plain training at equal compute",
    }
    return (
        f"{comparison['seeds']} seeds. Differences are in points, paired by seed, with their 95 % intervals and the p "
        f"of the sign-flip test{corrected if comparison['correction'] == 'max-t' else ''}; bold: clear; =: within ± "
        f"{comparison['margin']:g}. "
        + "; ".join(f"{TITLES[effect]}: {texts[effect]}" for effect in shown)
        + ". Operations are those of a training against plain training with the same scheduler."
    )
