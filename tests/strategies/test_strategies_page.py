"""docs/strategies.md: written from the strategies."""

import re
from dataclasses import fields
from pathlib import Path
from typing import get_args, get_origin, get_type_hints

import pytest

from bss.config.strategies import find_strategies
from bss.init.strategies_page import page_text
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
