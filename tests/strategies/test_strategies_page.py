"""docs/strategies.md: written from the strategies."""

import re
from dataclasses import fields
from pathlib import Path
from typing import get_args, get_origin, get_type_hints

import pytest

from bss.config.strategies import find_strategies
from bss.init.strategies_page import HOOKS, page_text
from bss.init.strategy_facts import FACTS
from bss.strategies import Strategy

DOCS = Path(__file__).parents[2] / "docs" / "strategies.md"
TEXT = DOCS.read_text(encoding="utf-8")


def test_it_is_as_the_strategies_say():
    assert page_text() == TEXT, "run `make compiled` and commit docs/strategies.md"


def test_every_strategy_has_a_row_and_a_section_with_all_its_parameters():
    for strategy in find_strategies():
        assert len(re.findall(rf"^\| `{strategy.kind}` \|", TEXT, flags=re.M)) == 1
        (section,) = re.findall(rf"^## .*\n\n`{strategy.kind}`(?:\n|:)(?:.|\n)*?(?=^## |\Z)", TEXT, flags=re.M)
        for field in fields(strategy):
            assert (f"\n| `{field.name}` | `" in section) == (field.name != "kind")


def test_no_parameter_has_the_name_of_what_every_strategy_has():
    common = {name for name in dir(Strategy) if not name.startswith("_")}
    for strategy in find_strategies():
        assert not {field.name for field in fields(strategy)} & common


def test_every_number_has_a_range():
    for strategy in find_strategies():
        types = get_type_hints(strategy)
        for field in fields(strategy):
            if {int, float} & {types[field.name], *get_args(types[field.name])}:
                wrong = {tuple: (-5.0, -4.0), dict: {"audio": -5.0}}.get(get_origin(types[field.name]), -5)
                with pytest.raises(ValueError, match=rf"`{field.name}(\.audio)?` must be "):
                    strategy(**{field.name: wrong})


def test_every_strategy_has_its_facts():
    kinds = {strategy.kind for strategy in find_strategies()}
    assert kinds <= set(FACTS), "bss/init/strategy_facts.py"
    for kind in set(FACTS) - kinds:
        assert f"\n| {kind} |" in TEXT.partition("## Not here")[2]


def test_nothing_would_be_lost_as_a_tag_of_html_or_break_a_table():
    rows = [line for line in TEXT.splitlines() if line.startswith("|")]
    assert not [row for row in rows if "<" in row]
    assert {row.count("|") for row in rows} <= {4, 5, 8}


def cells(kind):
    """The row of the table of a strategy: name, changes, cost, modalities, reads, measured."""
    (row,) = re.findall(rf"^\| `{kind}` \|(.*)\|$", TEXT, flags=re.M)
    return [cell.strip() for cell in row.split(" | ")]


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("none", "-"),
        ("pmr", "loss"),  # its plan and its gradients only keep prototypes
        ("inforeg", "gradients"),  # its plan only keeps weights
        ("etmc", "loss; prediction"),
        ("mses", "frozen encoders and heads, at their best weights"),
        ("mslr", "learning rates"),
    ],
)
def test_a_strategy_changes_what_it_acts_on(kind, changes):
    assert cells(kind)[1] == changes


def test_every_strategy_that_acts_says_what_it_changes():
    for strategy in find_strategies():
        acts = [hook for hook in ("total_epochs", *HOOKS) if getattr(strategy, hook) is not getattr(Strategy, hook)]
        assert (FACTS[strategy.kind].changes != "-") == bool(acts)


@pytest.mark.parametrize(
    ("kind", "reads"),
    [("none", "-"), ("mslr", "val"), ("remix", "train"), ("smv", "train"), ("lfm", "train, val"), ("g2d", "teachers")],
)
def test_a_strategy_reads_the_splits_that_any_of_its_hooks_gets(kind, reads):
    assert cells(kind)[4] == reads


def test_hooks_that_sum_over_a_batch_or_predict_are_listed():
    assert "Hooks: `gather`, `after`." in TEXT.partition("\n`amss`: ")[2].partition("\n## ")[0]
    assert "Hooks: `objectives`, `prediction`." in TEXT.partition("\n`etmc`: ")[2].partition("\n## ")[0]


def test_every_published_method_has_its_venue():
    own = {"none", "weights", "longer", "repair"}
    for kind in {strategy.kind for strategy in find_strategies()} - own:
        (source,) = re.findall(rf"^`{kind}`: (.*)\.$", TEXT, flags=re.M)
        assert re.search(r"[A-Z].*, [A-Za-z ]+ 20\d\d|: .*, [A-Z]+ 20\d\d", source), source
