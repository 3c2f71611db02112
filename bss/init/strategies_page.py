"""Generate docs/strategies.md from the strategies and `bss.init.strategy_facts`; `make compiled` writes it."""

import ast
import inspect
import json
import re
import sys
import textwrap
from dataclasses import MISSING, Field, fields
from typing import Any

from bss.config.strategies import find_strategies
from bss.init.strategy_facts import FACTS
from bss.init.templates import render
from bss.strategies import Method, Strategy

CITED = re.compile(r"(?P<name>.+?) \((?P<source>.+)\)(?P<rest>.*)", flags=re.S)
"""The first line of a strategy's file: its name, where it was published, and what part of it this is."""

HOOKS = (
    "network",
    "plan",
    "adapt",
    "measure",
    "arrange",
    "mix",
    "objectives",
    "turns",
    "gather",
    "after",
    "prediction",
)
"""Hooks of a strategy by which its page says how it works."""


def page_text() -> str:
    """Return the text of docs/strategies.md."""
    entries = [_entry(strategy) for strategy in find_strategies()]
    missing = sorted(set(FACTS) - {entry["kind"] for entry in entries})
    return render("strategies.md.j2", entries=entries, missing=missing, facts=FACTS)


def _entry(strategy: type[Strategy]) -> dict[str, Any]:
    """Return the fields of a strategy for the template, as text."""
    title = (sys.modules[strategy.__module__].__doc__ or "").strip().rstrip(".")
    found = CITED.fullmatch(title)
    name, source = (title, "") if found is None else (found["name"] + found["rest"], found["source"])
    documented = _documented(strategy)
    listed = [field for field in fields(strategy) if field.name in documented]  # type: ignore[arg-type]
    hooks = [hook for hook in HOOKS if _overrides(strategy, hook)]
    return {
        "kind": strategy.kind,
        "name": name.partition(":")[0],
        "source": source,
        "text": inspect.cleandoc(strategy.__doc__ or ""),
        "hooks": ", ".join(f"`{hook}`" for hook in hooks) or "-",
        "reads": ", ".join(_read(strategy)) or "-",
        "parameters": [(field.name, _default(field), documented[field.name]) for field in listed],
        "facts": FACTS[strategy.kind],
    }


def _read(strategy: type[Strategy]) -> list[str]:
    """Return the splits that a strategy is given between the steps: for facts, for measures, or for a batch of each."""
    wanted = [*strategy.splits]
    wanted += ["train"] if _overrides(strategy, "measures") else []
    wanted += ["train", "val"] if _overrides(strategy, "adapt") else []
    return list(dict.fromkeys(wanted))


def _overrides(strategy: type[Strategy], hook: str) -> bool:
    """Return whether a strategy has a hook of its own, not that of all strategies or of all published methods."""
    return all(getattr(strategy, hook, None) is not getattr(base, hook, None) for base in (Strategy, Method))


def _default(field: Field[Any]) -> str:
    make: Any = field.default_factory
    value = make() if field.default is MISSING else field.default
    if isinstance(value, tuple):
        return f"[{', '.join(map(str, value))}]"
    return json.dumps(value).strip('"')


def _documented(strategy: type[Strategy]) -> dict[str, str]:
    """Return the text under each field of a strategy and of what it extends, without the field `kind`."""
    found: dict[str, str] = {}
    for one in reversed(strategy.__mro__):
        if not issubclass(one, Strategy):
            continue
        (body,) = ast.parse(textwrap.dedent(inspect.getsource(one))).body
        assert isinstance(body, ast.ClassDef)
        for node, below in zip(body.body, body.body[1:], strict=False):
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and isinstance(below, ast.Expr):
                text = ast.literal_eval(below.value)
                found[node.target.id] = " ".join(text.split())
    return {name: text for name, text in found.items() if name != "kind"}
