"""The comparison as Markdown tables, for a README or a paper's notes."""

from typing import Any

from bss.report.comparison import ROLES, Comparison
from bss.report.matrix_table import compact_rows
from bss.report.next_steps import next_steps
from bss.report.verdicts import cautions, headlines
from bss.report.wording import interval


def markdown_verdict(comparison: Comparison) -> str:
    """Return the verdict in sentences, then the tables of `markdown_comparison`."""
    lines = [*headlines(comparison), *cautions(comparison), *next_steps(comparison)]
    return "\n\n".join([*lines, markdown_comparison(comparison)])


def markdown_comparison(comparison: Comparison) -> str:
    """Return the table of `markdown_row` with a header and a legend; with several strategies their matrix first.

    The matrix comes first because it sums up a table that can be long.
    """
    references = [comparison[role] for _, role in ROLES if comparison[role] is not None]
    head = ["scheduler", "test accuracy, %", *(f"vs {name}" for name in references), "last epoch, %", "steps"]
    rows = [[name, *markdown_row(entry, len(references))] for name, entry in comparison["schedulers"].items()]
    parts = [markdown_table(head, rows), f"{comparison['seeds']} seeds. {legend(comparison)}"]
    return "\n\n".join([*markdown_matrix(comparison), *parts])


def markdown_matrix(comparison: Comparison) -> list[str]:
    """Return the table of schedulers x strategies and its legend; nothing with a single strategy."""
    if "matrix" not in comparison:
        return []
    matrix = comparison["matrix"]
    rows = [[scheduler, *cells] for scheduler, cells in compact_rows(comparison).items()]
    controls = "; c the strategy against its simplest explanation" if matrix["controls"] else ""
    controls += "; b the strategy against plain training at equal compute" if matrix["budgets"] else ""
    return [
        markdown_table(["scheduler", *matrix["strategies"]], rows),
        "Test accuracy in %, a column per strategy. Behind it + and - mark what is shown to help and to harm: o the "
        f"order, against {matrix['baseline']} with the same strategy; s the strategy, against {matrix['plain']} with "
        f"the same scheduler; i both together, against the sum of the two{controls}.",
    ]


def markdown_table(head: list[str], rows: list[list[str]]) -> str:
    """Return the cells as a Markdown table."""
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows])


def markdown_row(entry: dict[str, Any], references: int = len(ROLES)) -> list[str]:
    """Return the cells of one scheduler: accuracy, its differences to the `references`, last epoch, steps."""
    test = entry["test_acc"]
    return [
        f"{100 * test['mean']:.2f} ± {100 * test['sd']:.2f}",
        *(_difference(entry.get(key)) for key, _ in ROLES[:references]),
        f"{100 * entry['last_test_acc']['mean']:.1f}",
        f"{entry['steps']['mean']:.0f}",
    ]


def legend(comparison: Comparison) -> str:
    """Return the legend of the table."""
    corrected = ", corrected for the number of schedulers (max-T)" if comparison["correction"] == "max-t" else ""
    return (
        "± is the standard deviation over seeds (ddof = 1). Differences are in points, paired by seed, each with its "
        f"95 % t-interval; bold: the interval excludes 0 and the sign-flip test's p is at most 0.05{corrected}; "
        f"=: not bold, and the interval lies inside ± {comparison['margin']:g}."
    )


def _difference(found: dict[str, Any] | None) -> str:
    if found is None:
        return ""
    test = found["test_acc"]
    number, _, rest = interval(test).partition(" ")
    clear = test["verdict"] in ("better", "worse")
    text = f"**{number}**" if clear else number
    return f"{text} {rest}".rstrip() + (" =" if test["verdict"] == "within-margin" else "")
