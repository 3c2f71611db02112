"""The control of each strategy: the simplest thing that could explain its gain, and whether it was trained."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from bss.strategies import Strategy


def trained_controls(strategies: Mapping[str, Strategy], trained: list[str]) -> dict[str, str]:
    """Return the name of each of the `trained` strategies to that of its control, the first of them that is one."""
    found = {}
    for name in trained:
        control = strategies[name].control if name in strategies else None
        matching = [other for other in trained if other in strategies and _is(strategies[other], control)]
        if control is not None and matching:
            found[name] = matching[0]
    return found


def missing_controls(strategies: Mapping[str, Strategy], trained: list[str]) -> dict[str, str]:
    """Return the name of each of the `trained` strategies whose control was not trained to that control."""
    known = trained_controls(strategies, trained)
    wanted = {name: strategies[name].control for name in trained if name in strategies and name not in known}
    return {name: control for name, control in wanted.items() if control is not None}


def _is(strategy: Strategy, control: str | None) -> bool:
    """Return whether `strategy` is of the control's kind, with its parameter other than the default."""
    if control is None:
        return False
    kind, _, setting = control.partition(".")
    parameter = setting.partition("=")[0]
    defaults: dict[str, Any] = {field.name: field.default for field in fields(strategy)}  # type: ignore[arg-type]
    return strategy.kind == kind and (not parameter or getattr(strategy, parameter) != defaults[parameter])
