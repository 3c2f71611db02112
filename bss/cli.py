"""The command line: the parser of all commands, and how errors and signals end one."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bss import __version__
from bss.commands.data import METHODS, add_data_commands
from bss.commands.kubeflow import add_kubeflow_commands
from bss.commands.machine import add_doctor, add_ui
from bss.commands.options import PARAMS
from bss.commands.results import add_result_commands
from bss.commands.stages import add_stage_commands
from bss.end_with_dvc import end_with_dvc
from bss.errors import BssError
from bss.export.arguments import add_export
from bss.extras import not_installed
from bss.full_disk import system_error
from bss.predict.arguments import add_predict
from bss.signals import interrupted_by_sigterm, stop_signal_as_sigterm

__all__ = ["METHODS", "main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns 0 on success, 1 on an error that was printed, and 130 if Ctrl-C or SIGTERM stopped it.
    """
    options = _parser().parse_args(arguments)
    end_with_dvc()
    stop_signal_as_sigterm()
    try:
        with interrupted_by_sigterm():
            return options.command(options) or 0
    except BssError as error:
        print(f"bss: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        known = system_error(error)
        if isinstance(error, BrokenPipeError):  # the reader closed the pipe, as in `bss show | head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        elif known is None:
            raise
        else:
            print(f"bss: {known}", file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] in ("bss", "components", "pipelines"):
            raise
        print(f"bss: {not_installed(error.name)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("bss: stopped; finished work is kept", file=sys.stderr)
        return 130


class _StoreOnce(argparse.Action):
    """Store one value; refuse a second one, which would silently replace the first."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        if getattr(namespace, self.dest, self.default) is not self.default:
            parser.error(f"{option}: given twice")
        setattr(namespace, self.dest, values)


class _Parser(argparse.ArgumentParser):
    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        for name in (None, "store"):
            self.register("action", name, _StoreOnce)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="bss", description="Balance-aware sequence sampling: measure, schedule, train, compare.")
    parser.add_argument("--version", action="version", version=f"bss {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def add(
        name: str,
        command: Callable[[argparse.Namespace], int | None],
        text: str,
        parameters: bool = True,
    ) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(command=command)
        if not parameters:
            return sub
        sub.add_argument("--params", type=Path, default=PARAMS, help=f"parameter file (default: {PARAMS})")
        sub.add_argument(
            "--set",
            action="append",
            default=[],
            metavar="KEY=VALUE",
            dest="overrides",
            help="override one parameter, such as train.epochs=5; repeatable",
        )
        return sub

    add_data_commands(add)
    add_stage_commands(add)
    add_predict(add)
    add_export(add)
    add_result_commands(add)
    add_doctor(add)
    add_kubeflow_commands(add)
    add_ui(add)
    return parser
