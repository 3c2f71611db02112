"""The controls of a strategy: the simplest thing that could explain its gain, and plain training at equal compute."""

from collections.abc import Mapping
from dataclasses import fields
from math import log
from typing import Any

from bss.config.combinations import Combination
from bss.config.network import LossWeights
from bss.strategies import Strategy

LONGER = "longer"
"""The kind of the strategies that are controls at equal compute."""
COSTLIER = 1.05
"""From this multiple of the operations of plain training on, a strategy needs such a control."""
ENOUGH = 0.95
"""Share of a strategy's operations that its control has to take at least."""


def trained_controls(
    strategies: Mapping[str, Strategy], trained: list[str], loss_weights: LossWeights
) -> dict[str, str]:
    """Return the name of each of the `trained` strategies to that of its control, which was trained too.

    A control is of the declared kind, and its parameter has the declared value or lies on the same side of the
    default. Of several, those come first that set nothing else, then those nearest to the value by the ratio, then the
    first. One that sets other parameters too needs the value itself. A weight of the loss that is not set is that of
    `loss_weights`.
    """
    known = {name: strategies[name] for name in trained if name in strategies}
    found = {}
    for name, strategy in known.items():
        if strategy.control is None:
            continue
        places = {other: _distance(one, strategy.control, loss_weights) for other, one in known.items()}
        near = {other: place for other, place in places.items() if place is not None}
        if near:
            found[name] = min(near, key=lambda other: near[other])
    return found


def missing_controls(
    strategies: Mapping[str, Strategy], trained: list[str], loss_weights: LossWeights
) -> dict[str, str]:
    """Return the name of each of the `trained` strategies whose control was not trained to that control."""
    known = trained_controls(strategies, trained, loss_weights)
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


def _distance(strategy: Strategy, control: str, loss_weights: LossWeights) -> tuple[bool, float] | None:
    """Return whether `strategy` sets more than the `control`, and how far it is from its value; None: it is no control.

    The distance is the absolute logarithm of the ratio.
    """
    kind, _, setting = control.partition(".")
    if strategy.kind != kind:
        return None
    parameter, _, text = setting.partition("=")
    usual: dict[str, Any] = {field.name: field.default for field in fields(strategy)}  # type: ignore[arg-type]
    values, defaults = (_filled(x, loss_weights) for x in ({name: getattr(strategy, name) for name in usual}, usual))
    more = any(values[name] != defaults[name] for name in usual if name != parameter)
    if not parameter:
        return more, 0.0
    value, wanted, default = values[parameter], float(text), defaults[parameter]
    if (value - default) * (wanted - default) <= 0 or (more and value != wanted):
        return None
    if value == wanted:
        return more, 0.0
    return (more, abs(log(value / wanted))) if value * wanted > 0 else None  # nothing is near to 0


def _filled(values: dict[str, Any], loss_weights: LossWeights) -> dict[str, Any]:
    return {name: getattr(loss_weights, name) if value is None else value for name, value in values.items()}
