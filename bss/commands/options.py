"""What the commands share: the default files and folders, and types of options."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bss.config import Config

Add = Callable[..., argparse.ArgumentParser]
"""Adds a command by name, function and help text; with `parameters=False` it takes no `--params` and no `--set`."""
PARAMS = Path("params.yaml")
STORE = Path("outputs/store")
SCORES = Path("outputs/scores")
PLANS = Path("outputs/plans")
RUNS = Path("outputs/runs")
TUNE = Path("outputs/tune")
REPORT = Path("outputs/report")
AUDIT = Path("outputs/audit")


def add_paths(sub: argparse.ArgumentParser, *paths: Path) -> None:
    """Add to the command `sub` an option per path, named after its last part and with the path as default."""
    for path in paths:
        sub.add_argument(f"--{path.name}", type=Path, default=path, help="default: %(default)s")


def add_links(sub: argparse.ArgumentParser, help_text: str) -> None:
    """Add `--links` to the command `sub`: whether files outside the folder are read through links."""
    sub.add_argument("--links", choices=("inside", "follow"), default="inside", help=help_text)


def above_zero(text: str) -> float:
    """Return a finite number above 0, as the `type` of an option."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a positive number, but got: {text}")
    return number


def probability(text: str) -> float:
    """Return a number between 0 and 1, both excluded, as the `type` of an option."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < 1:  # nor nan
        raise argparse.ArgumentTypeError(f"must be a probability between 0 and 1, but got: {text}")
    return number


def load(options: argparse.Namespace) -> "Config":
    """Return the checked parameters of a command that takes `--params` and `--set`."""
    from bss.config import load_config

    return load_config(options.params, options.overrides)
