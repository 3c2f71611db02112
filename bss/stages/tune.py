"""Search of the learning rate for uniform shuffling, by validation accuracy: one rate that all rows then share."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from rich import box
from rich.table import Table

from bss.balance.schedulers.uniform import UniformEntry
from bss.config import Config
from bss.config.schema import CompareConfig, TrackingConfig
from bss.config.training import with_epochs
from bss.console import make_console
from bss.data.store import Store
from bss.errors import BssError
from bss.files import read_json, whole_file, write_json
from bss.stages.schedule import schedule
from bss.stages.train import train
from bss.strategies.none import Plain

NAME = "uniform"
KEY = "train.optimiser.learning_rate"


@dataclass(frozen=True)
class Tried:
    """A learning rate, and the results of its runs."""

    rate: float
    accuracies: tuple[float, ...]
    """On val, at the selected epoch, by seed; empty if a run diverged."""

    @property
    def accuracy(self) -> float:
        """The mean; -1 if a run diverged."""
        return float(np.mean(self.accuracies)) if self.accuracies else -1.0


def tune(
    config: Config,
    params: Path,
    store: Path,
    folder: Path,
    low: float | None = None,
    high: float | None = None,
    points: int = 5,
    epochs: int | None = None,
    seeds: Sequence[int] | None = None,
    write: bool = False,
) -> float:
    """Train uniform shuffling plainly with each of `points` log-spaced rates from `low` to `high`; return the best.

    None: a tenth and ten times the configured rate; `epochs` None: as many as are configured, else decays move in
    proportion; `seeds` None: the first. Finished runs in `folder` are kept: an interrupted search resumes, and
    a finer or longer one adds to it. With `write` the rate is set in the file `params`. Raises `BssError`
    without a val split, with `epochs` below 1, or if every rate diverges.
    """
    if epochs is not None and epochs < 1:
        raise BssError(f"--epochs {epochs}: must be at least 1.")
    data = Store.open(store)
    if not len(data.rows("val")):
        raise BssError(f"{store}: has no val split to compare learning rates on; the test split is never used.")
    rate = config.train.optimiser.learning_rate
    rates = rate_grid(rate / 10 if low is None else low, rate * 10 if high is None else high, points)
    place = _place(params) if write else None
    plain = plain_config(config, epochs, tuple(seeds or config.seeds[:1]))
    schedule(plain, store, folder / "scores", folder / "plans")
    tried = [_try(plain, rate, store, folder) for rate in rates]
    best = max(tried, key=lambda one: (one.accuracy, -one.rate))  # of equals the least
    if not best.accuracies:
        raise BssError(f"every learning rate from {rates[0]:g} on diverges: give a smaller --low.")
    _print(tried, best, plain.seeds, place is not None)
    found = [{"learning_rate": one.rate, "val_acc": list(one.accuracies)} for one in tried]
    write_json(folder / "tune.json", {"seeds": list(plain.seeds), "best": best.rate, "tried": found})
    if place is not None:
        _write(params, place, best.rate)
    return best.rate


def rate_grid(low: float, high: float, points: int) -> list[float]:
    """Return `points` log-spaced rates with two significant digits, ascending and different."""
    if not 0 < low < high or points < 2:
        raise BssError(
            f"--low, --high, --points: need 0 < low < high and 2 or more, but got {low:g}, {high:g}, {points}"
        )
    return list(dict.fromkeys(float(f"{rate:.2g}") for rate in np.geomspace(low, high, points)))


def plain_config(config: Config, epochs: int | None, seeds: tuple[int, ...]) -> Config:
    """Return `config` for plain training with uniform shuffling, selected on val, without MLflow."""
    return replace(
        config,
        train=with_epochs(config.train, config.train.epochs if epochs is None else epochs),
        seeds=seeds,
        protocol="honest",
        schedule=replace(config.schedule, schedulers={NAME: UniformEntry("uniform")}),
        strategies={"none": Plain()},
        combinations=None,
        compare=CompareConfig(baseline=NAME),
        tracking=TrackingConfig(enabled=False),
    )


def _try(config: Config, rate: float, store: Path, folder: Path) -> Tried:
    optimiser = replace(config.train.optimiser, learning_rate=rate)
    config = replace(config, train=replace(config.train, optimiser=optimiser))
    runs = folder / f"rate-{rate:g}"
    try:
        train(config, store, folder / "scores", folder / "plans", runs)
    except BssError as error:
        if "has diverged" not in str(error):
            raise
        return Tried(rate, ())
    found = [read_json(runs / NAME / f"seed={seed}" / "metrics.json", "tune") for seed in config.seeds]
    return Tried(rate, tuple(float(metrics["val/acc"]) for metrics in found))


def _print(tried: list[Tried], best: Tried, seeds: tuple[int, ...], written: bool) -> None:
    console = make_console()
    table = Table(box=box.SIMPLE, title="validation accuracy of uniform shuffling, in %")
    for name in ("learning rate", *(f"seed {seed}" for seed in seeds), "mean"):
        table.add_column(name, justify="right")
    for one in tried:
        values = [f"{100 * value:.2f}" for value in one.accuracies] or ["diverged"] + [""] * (len(seeds) - 1)
        mean = f"{100 * one.accuracy:.2f}" if one.accuracies else ""
        table.add_row(f"{one.rate:g}", *values, mean, style="bold" if one is best else None)
    console.print(table)
    done = "Set" if written else "Set with --write, or by hand:"
    lines = [f"{done} {KEY}: {best.rate:g}, for all rows of the comparison."]
    if best is tried[0] or best is tried[-1]:
        side = "--low" if best is tried[0] else "--high"
        lines.append(f"It is the {'least' if side == '--low' else 'greatest'} rate tried: widen the search by {side}.")
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _place(params: Path) -> tuple[int, int]:
    """Return line and column of the rate in the file `params`, from 0."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        node = YAML(typ="safe", pure=True).compose(params.read_text(encoding="utf-8"))
        for key in KEY.split("."):
            node = {name.value: value for name, value in node.value}[key]
        line, column = node.start_mark.line, node.start_mark.column
    except (YAMLError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise BssError(f"{params}: has no {KEY} that --write could set. Add it, such as 0.01.") from error
    return int(line), int(column)


def _write(params: Path, place: tuple[int, int], rate: float) -> None:
    """Set the rate in the file `params`, whose every other byte stays."""
    line, column = place
    lines = params.read_text(encoding="utf-8").splitlines(keepends=True)
    lines[line] = lines[line][:column] + re.sub(r"^[^\s,}#]+", f"{rate:g}", lines[line][column:])
    with whole_file(params) as unfinished:
        unfinished.write_text("".join(lines), encoding="utf-8")
