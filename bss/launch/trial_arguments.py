"""How a command line says which trial: an option per field of `TrialId`."""

import argparse
from typing import get_type_hints

from bss.training.trial_spec import TrialId


def add_trial_arguments(parser: argparse.ArgumentParser) -> None:
    """Let `parser` require ``--scheduler`` and ``--seed``, and take ``--strategy``."""
    defaults = TrialId._field_defaults
    for name, kind in get_type_hints(TrialId).items():
        parser.add_argument(f"--{name}", type=kind, required=name not in defaults, default=defaults.get(name))


def trial_arguments(trial: TrialId) -> list[str]:
    """Return the arguments that `asked_trial` reads as `trial`."""
    return [part for name, value in trial.fields.items() for part in (f"--{name}", str(value))]


def asked_trial(options: argparse.Namespace) -> TrialId:
    """Return the trial that the parsed arguments name."""
    return TrialId(*(getattr(options, name) for name in TrialId._fields))
