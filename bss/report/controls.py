"""The controls of a strategy: the simplest thing that could explain its gain, and plain training at equal compute."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from bss.config.combinations import Combination
from bss.strategies import Strategy

LONGER = "longer"
"""The kind of the strategies that are controls at equal compute."""
COSTLIER = 1.05
"""From this multiple of the operations of plain training on, a strategy needs such a control."""
ENOUGH = 0.95
"""Share of a strategy's operations that its control has to take at least."""


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


def equal_compute(
    strategies: Mapping[str, Strategy], flops: Mapping[Combination, float], plain: str
) -> tuple[dict[Combination, str], dict[str, float]]:
    """Return the control at equal compute of each row that costs more than plain training, and what is missing.

    `flops` are the floating-point operations of each row. The control has the same scheduler: of the strategies of kind
    ``longer`` that take as many operations, the cheapest. What is missing maps strategies without one to the
    multiple of the operations of plain training, the largest over the schedulers.
    """
    found: dict[Combination, str] = {}
    missing: dict[str, float] = {}
    longer = {name for name, strategy in strategies.items() if strategy.kind == LONGER}
    for row, cost in flops.items():
        of_plain = flops.get(row._replace(strategy=plain))
        if row.strategy in longer or of_plain is None or cost < COSTLIER * of_plain:
            continue
        costs = {name: flops.get(row._replace(strategy=name), 0.0) for name in longer}
        enough = [name for name, other in costs.items() if other >= ENOUGH * cost]
        if enough:
            found[row] = min(enough, key=lambda name: (costs[name], name))
        else:
            missing[row.strategy] = max(cost / of_plain, missing.get(row.strategy, 0.0))
    return found, missing


def _is(strategy: Strategy, control: str | None) -> bool:
    """Return whether `strategy` is of the control's kind, with its parameter other than the default."""
    if control is None:
        return False
    kind, _, setting = control.partition(".")
    parameter = setting.partition("=")[0]
    defaults: dict[str, Any] = {field.name: field.default for field in fields(strategy)}  # type: ignore[arg-type]
    return strategy.kind == kind and (not parameter or getattr(strategy, parameter) != defaults[parameter])
