"""The matrix of schedulers x strategies in the terminal, as texts and as rows of files; accuracy against cost."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made import compared
from rich.console import Console

from bss.report.cost import cost_plot, cost_rows, cost_texts, front_names, pareto_front
from bss.report.markdown import markdown_comparison, markdown_matrix, markdown_verdict
from bss.report.matrix_table import compact_rows, effect_rows, effect_texts, matrix_findings, matrix_rows
from bss.report.terminal import print_comparison

BASE = np.array([70.0, 72.0, 74.0, 71.0, 73.0, 75.0, 70.5, 72.5])
NOISE = np.array([0.1, -0.1, 0.2, -0.2, 0.15, -0.15, 0.05, -0.05])


@pytest.fixture(scope="module")
def comparison():
    """bss-h gives 1 point, ogm 2, both together 6; bss-l was not trained with ogm, and is 3 below uniform."""
    rows = {
        "uniform": BASE,
        "bss-h": BASE + 1 + NOISE,
        "bss-l": BASE - 3 - NOISE,
        "uniform+ogm": BASE + 2 - NOISE,
        "bss-h+ogm": BASE + 6 + 0.5 * NOISE,
    }
    return compared(rows, {"uniform": 10, "bss-h": 9, "bss-l": 12, "uniform+ogm": 15, "bss-h+ogm": 14})


def test_cells_have_the_effects_that_can_be_computed(comparison):
    rows = dict(matrix_rows(comparison, dict.fromkeys(comparison["schedulers"], 1.5)))
    assert list(rows) == ["uniform", "bss-h", "bss-l"]
    plain, both = rows["bss-h"]
    assert plain.mean == f"{BASE.mean() + 1:.2f} ± {np.std(BASE + 1 + NOISE, ddof=1):.2f}"
    assert [(effect, text.split()[0], clear) for effect, text, clear in both.lines] == [
        ("order", "+4.00", True),
        ("strategy", "+5.00", True),
        ("interaction", "+3.00", True),
    ]
    assert re.fullmatch(r"\+4\.00 \[\+\d\.\d\d, \+4\.\d\d\] \*, p 0\.008", both.lines[0][1])
    assert both.cost == "1.4e+10 (x1.56) operations, 1.5 s"
    assert (rows["bss-l"][0].height, both.height) == (0, 1)
    assert rows["bss-l"][1] is None
    assert rows["uniform"][0].lines == []


def test_compact_cells_have_the_signs_of_clear_effects(comparison):
    mean = BASE.mean()
    assert compact_rows(comparison) == {
        "uniform": [f"{mean:.2f}", f"{mean + 2:.2f} s+"],
        "bss-h": [f"{mean + 1:.2f} o+", f"{mean + 6:.2f} o+ s+ i+"],
        "bss-l": [f"{mean - 3:.2f} o-", "-"],
    }


def test_the_terminal_shows_the_matrix_within_its_width(comparison):
    console = Console(width=60)
    with console.capture() as captured:
        print_comparison(comparison, dict.fromkeys(comparison["schedulers"], 1.5), console)
    lines = captured.get().splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("Schedulers x strategies"))
    cells = [re.split(r"\s{2,}", line.strip()) for line in lines[start : start + 12]]
    assert ["bss-h", f"{BASE.mean() + 1:.2f} o+", f"{BASE.mean() + 6:.2f} o+ s+ i+"] in cells
    assert any(
        line.startswith("Interaction, order and strategy together against the sum of both: more") for line in lines
    )


def test_markdown_has_the_matrix_before_the_table(comparison):
    mean = BASE.mean()
    table, legend, rows, _ = markdown_comparison(comparison).split("\n\n")
    assert table.splitlines() == [
        "| scheduler | none | ogm |",
        "| --- | --- | --- |",
        f"| uniform | {mean:.2f} | {mean + 2:.2f} s+ |",
        f"| bss-h | {mean + 1:.2f} o+ | {mean + 6:.2f} o+ s+ i+ |",
        f"| bss-l | {mean - 3:.2f} o- | - |",
    ]
    assert legend == (
        "Test accuracy in %, a column per strategy. Behind it + and - mark what is shown to help and to harm: o the "
        "order, against uniform with the same strategy; s the strategy, against none with the same scheduler; "
        "i both together, against the sum of the two."
    )
    assert rows.startswith("| scheduler | test accuracy, % | vs uniform |")
    assert markdown_verdict(comparison).endswith(markdown_comparison(comparison))


def test_markdown_says_what_c_is_if_a_strategy_has_a_control(comparison):
    matrix = comparison["matrix"] | {"controls": {"ogm": "gradients-x3"}}
    assert (
        "; i both together, against the sum of the two; c the strategy against its simplest explanation."
        in (markdown_matrix(comparison | {"matrix": matrix})[1])
    )
    matrix |= {"budgets": {"uniform+ogm": "longer"}}
    assert markdown_matrix(comparison | {"matrix": matrix})[1].endswith(
        "c the strategy against its simplest explanation; b the strategy against plain training at equal compute."
    )


def test_without_strategies_markdown_has_one_table():
    plain = compared({"uniform": BASE, "bss-h": BASE + NOISE}, {"uniform": 10, "bss-h": 9})
    assert markdown_matrix(plain) == []
    assert markdown_comparison(plain).startswith("| scheduler | test accuracy, % |")


def test_a_sentence_for_each_effect(comparison):
    assert matrix_findings(comparison) == [
        "Order, against uniform with the same strategy: better: bss-h+ogm and bss-h; worse: bss-l.",
        "Strategy, against none with the same scheduler: better: bss-h+ogm and uniform+ogm.",
        "Interaction, order and strategy together against the sum of both: more than the sum: bss-h+ogm.",
    ]
    assert matrix_findings(comparison | {"seeds": 5}) == []


def test_rows_of_effects_name_what_they_are_against(comparison):
    rows = effect_rows(comparison)
    assert [(r["scheduler"], r["strategy"], r["effect"], r["reference"]) for r in rows] == [
        ("bss-h", "none", "order", "uniform"),
        ("bss-l", "none", "order", "uniform"),
        ("bss-h", "ogm", "order", "uniform+ogm"),
        ("uniform", "ogm", "strategy", "uniform"),
        ("bss-h", "ogm", "strategy", "bss-h"),
        ("bss-h", "ogm", "interaction", "the sum"),
    ]
    assert [round(r["difference"], 9) for r in rows] == [1, -3, 4, 2, 5, 3]
    assert [text[-2] for text in effect_texts(comparison)] == [
        *("better", "worse", "better", "better", "better", "more than the sum")
    ]


def test_the_front_by_hand():
    assert pareto_front([1, 2, 3, 4], [5, 4, 6, 6]) == [0, 2]
    assert pareto_front([3, 1, 2], [9, 1, 5]) == [1, 2, 0]  # the cheapest first
    assert pareto_front([1, 1, 1], [5, 5, 4]) == [0, 1]  # equal points do not dominate each other
    assert pareto_front([2, 2], [1, 3]) == [1]


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=12))
def test_the_front_is_what_no_other_dominates(points):
    def dominated(point):
        return any(c <= point[0] and v >= point[1] and (c, v) != point for c, v in points)

    expected = {place for place, point in enumerate(points) if not dominated(point)}
    found = pareto_front([c for c, _ in points], [v for _, v in points])
    assert set(found) == expected
    assert len(found) == len(expected)


def test_costs_and_fronts(comparison):
    times = {"uniform": 1.0, "bss-h": 2.0, "bss-l": 0.5, "uniform+ogm": 3.0, "bss-h+ogm": 4.0}
    rows = {f"{row['scheduler']}+{row['strategy']}": row for row in cost_rows(comparison, times)}
    assert {name for name, row in rows.items() if row["front_seconds"]} == {
        *("bss-l+none", "uniform+none", "bss-h+none", "uniform+ogm", "bss-h+ogm")
    }
    assert {name for name, row in rows.items() if row["front_operations"]} == {"bss-h+none", "bss-h+ogm"}
    assert [text[-1] for text in cost_texts(comparison, times)] == [
        *("seconds", "operations and seconds", "seconds", "seconds", "operations and seconds")
    ]
    svg = cost_plot(comparison, times)
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", svg)
    assert {"floating-point operations per training", "seconds per training", "test accuracy, %"} <= set(texts)
    assert {"none", "ogm", "bss-l"} <= set(texts)
    assert texts.count("1") >= 2  # the front is numbered in both


def test_the_front_is_of_operations_where_steps_differ_in_them():
    rows = {"uniform": BASE, "uniform+ogm": BASE + 2, "uniform+mla": BASE + 2}
    comparison = compared(rows, {"uniform": 10, "uniform+ogm": 30, "uniform+mla": 20})
    for entry in comparison["schedulers"].values():
        entry["steps"] = {"mean": 10.0, "sd": 0.0}  # as many, of which some cost two or three times as much
    times = dict.fromkeys(rows, 1.0)
    assert front_names(comparison, times)["operations"] == ["uniform", "uniform+mla"]
    assert [(row["flops"], row["of_plain"]) for row in cost_rows(comparison, times)] == [
        (1e10, 1),
        (3e10, 3),
        (2e10, 2),
    ]
