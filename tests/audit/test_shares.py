"""Shares of faults by group and class: counts, Wilson's interval, and what stands out."""

import pytest
from rich.console import Console
from scipy.stats import binomtest

from bss.audit.shares import ranked, shares_by, shares_of, stands_out
from bss.audit.terminal import print_audit

EXPLANATIONS = {"clean": ["p_clean"], "contradiction": ["p_contradiction_a", "p_contradiction_b"], "label": ["p_label"]}


def table(groups):
    """Rows from (group, kind, n): the kind is certain; of two copies the first is of george."""
    rows = [(group, kind) for group, kind, n in groups for _ in range(n)]
    certain = {
        "p_clean": [float(kind == "clean") for _, kind in rows],
        "p_contradiction_a": [float(kind == "contradiction") / 2 for _, kind in rows],
        "p_contradiction_b": [float(kind == "contradiction") / 2 for _, kind in rows],
        "p_label": [float(kind == "label") for _, kind in rows],
    }
    known = [kind != "unknown" for _, kind in rows]
    return {
        "group": [group for group, _ in rows],
        "kind": [kind for _, kind in rows],
        "probability": [float(kind != "clean") if k else None for (_, kind), k in zip(rows, known, strict=True)],
        "duplicate_of": ["x", *[None] * (len(rows) - 2), "y"],
        **certain,
    }


GROUPS = [
    ("george", "contradiction", 9),
    ("george", "clean", 11),
    ("anna", "contradiction", 2),
    ("anna", "clean", 76),
    ("anna", "unknown", 5),
    (None, "label", 1),
    (None, "clean", 1),
]


def test_a_group_has_its_counts_wilsons_interval_and_the_share_elsewhere():
    columns = table(GROUPS)
    whole = shares_of(columns, EXPLANATIONS, range(105))
    assert (whole["contradiction"]["share"], whole["contradiction"]["n"]) == (11 / 100, 100)
    assert (whole["duplicate"]["share"], whole["duplicate"]["n"]) == (2 / 105, 105)
    found = shares_by("group", columns, EXPLANATIONS, whole)
    assert list(found) == ["anna", "george"]  # samples without a group are in none
    own = found["george"]["contradiction"]
    assert (own["share"], own["n"], own["likely"]) == (0.45, 20, 9)
    wilson = binomtest(9, 20).proportion_ci(method="wilson")
    assert (own["low"], own["high"]) == pytest.approx((wilson.low, wilson.high))
    assert own["elsewhere"] == pytest.approx(2 / 80)
    assert own["elsewhere_high"] == pytest.approx(binomtest(2, 80).proportion_ci(method="wilson").high)
    assert found["anna"]["contradiction"]["n"] == 78  # those without a verdict do not count
    assert found["george"]["duplicate"]["likely"] == 1
    assert found["george"]["label"]["likely"] == 0


def test_only_what_is_clearly_above_the_others_stands_out():
    columns = table(GROUPS)
    whole = shares_of(columns, EXPLANATIONS, range(105))
    found = ranked(shares_by("group", columns, EXPLANATIONS, whole))
    assert [(value, kind, stands_out(own)) for value, kind, own in found] == [
        ("george", "contradiction", True),
        ("george", "duplicate", False),
        ("anna", "contradiction", False),
    ]
    alone = [("george", "contradiction", 9), ("george", "clean", 11)]
    whole = shares_of(table(alone), EXPLANATIONS, range(20))
    entry = shares_by("group", table(alone), EXPLANATIONS, whole)["george"]["contradiction"]
    assert entry["elsewhere"] is None
    assert not stands_out(entry)


def test_a_single_fault_does_not_make_its_group_stand_out():
    columns = table([("a", "label", 1), ("a", "clean", 3), ("b", "clean", 8)])
    whole = shares_of(columns, EXPLANATIONS, range(12))
    label = shares_by("group", columns, EXPLANATIONS, whole)["a"]["label"]
    assert label["low"] > label["elsewhere"] == 0
    assert not stands_out(label)


def test_a_group_without_any_verdict_has_no_shares_but_those_of_copies():
    columns = table([("x", "unknown", 3)])
    assert list(shares_of(columns, EXPLANATIONS, range(3))) == ["duplicate"]


def test_the_terminal_has_a_line_for_a_group_that_stands_out():
    columns = table(GROUPS) | {
        "id": ["a"] * 105,
        "split": ["train"] * 105,
        "class": ["[b]"] * 105,
        "blame": [None] * 105,
    }
    whole = shares_of(columns, EXPLANATIONS, range(105))
    groups = shares_by("group", columns, EXPLANATIONS, whole)
    summary = {"samples": {"train": 105}, "kinds": whole, "groups": groups, "classes": {}, "leaks": 0, "unknown": 5}
    console = Console(width=120)
    with console.capture() as captured:
        print_audit(console, summary, columns)
    (line,) = [line for line in captured.get().splitlines() if "george" in line]
    assert " ".join(line.split()) == "george contradiction 9 of 20 45.0 % 25.8 to 65.8 % 2.5 %"
