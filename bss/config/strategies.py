"""The strategies of params.yaml: the entries that the files of `bss.strategies` hold."""

import json
import math
from collections.abc import Collection
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Annotated, Union

from pydantic import Field

import bss.strategies
from bss.balance.checks import require
from bss.strategies import Setting, Strategy

if TYPE_CHECKING:
    from bss.config.schema import Config


def find_strategies() -> tuple[type[Strategy], ...]:
    """Return the class of every strategy, `none` first and the others by the names of their files."""
    names = sorted((m.name for m in iter_modules(bss.strategies.__path__)), key=lambda n: (n != "none", n))
    modules = (import_module(f"bss.strategies.{name}") for name in names)
    return tuple(module.ENTRY for module in modules if hasattr(module, "ENTRY"))


if TYPE_CHECKING:
    StrategyEntry = Strategy
else:
    StrategyEntry = Annotated[Union[find_strategies()], Field(discriminator="kind")]  # noqa: UP007


def setting_of(config: "Config") -> Setting:
    """Return the facts about a trial with these parameters that strategies need."""
    weights = config.network.loss_weights
    return Setting(
        tuple(config.network.encoders),
        config.network.fusion.kind,
        config.train.optimiser.kind,
        config.train.epochs,
        weights.fused,
        weights.unimodal,
        config.train.processes * config.train.nodes,
        config.train.compile,
        config.train.batch_size,
        config.train.label_smoothing,
        config.train.accumulate,
        config.network.prediction,
    )


def parameter_text(strategy: Strategy, parameter: str) -> str:
    """Return a parameter as in params.yaml, such as ```window: [0.0, 0.0]```."""
    return f"`{parameter}: {json.dumps(getattr(strategy, parameter))}`"


def check_strategies(config: "Config", trained: Collection[str]) -> None:
    """Check all names, which become folders and metric names, and that the `trained` ones fit the other sections."""
    require(bool(config.strategies), "strategies", {}, "one or more")
    setting, weights = setting_of(config), config.train.class_weights
    for name, strategy in config.strategies.items():
        ok = name.replace("-", "").replace("_", "").isalnum() and name.isascii() and name.lower() == name
        require(ok, "strategies", name, "a name of lower-case letters, digits, - and _")
        if name not in trained:
            continue
        if not strategy.plain:
            wanted = "false or true for strategies that change steps, which CUDA graphs cannot record"
            require(setting.compile != "graphs", "train.compile", setting.compile, wanted)
        own = f"left out with strategies.{name}: `{strategy.kind}` has a loss of its own, which does not follow it"
        for key, value in (("label_smoothing", setting.label_smoothing or None), ("class_weights", weights)):
            require(value is None or strategy.takes_targets(), f"train.{key}", value, own)
        if strategy.needs_heads and not strategy.trains_heads(setting):
            raise ValueError(
                f"strategies.{name}: `{strategy.kind}` needs unimodal heads that are trained, and its loss does not "
                "train them: what they say would be noise. Set network.loss_weights.unimodal above 0, or a `loss`, "
                "`source` or `order` of the strategy that trains or does not read them."
            )
        onset = strategy.onset(setting)
        if onset.epoch == math.inf:
            raise ValueError(
                f"strategies.{name}: `{strategy.kind}` acts in no epoch with "
                f"{parameter_text(strategy, onset.parameter)}, so what carries its name would not be its result. "
                f"Change `{onset.parameter}`, or train without it: `kind: none`."
            )
        try:
            strategy.check(setting)
        except ValueError as error:
            raise ValueError(f"strategies.{name}: {error}") from error
