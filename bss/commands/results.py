"""The commands that read finished work: sync, show and sequence."""

import argparse

from bss.commands.options import PLANS, REPORT, RUNS, STORE, Add, add_paths, load


def add_result_commands(add: Add) -> None:
    """Add the commands from sync to sequence."""
    sub = add("sync", _sync, "upload to MLflow what could not be sent during training", parameters=False)
    add_paths(sub, RUNS)
    sub = add("show", _show, "print the last comparison")
    sub.add_argument("--markdown", action="store_true", help="print only the tables, in Markdown")
    add_paths(sub, REPORT)
    sub = add("sequence", _sequence, "regenerate the sequence of one epoch and check its digest")
    add_paths(sub, STORE, PLANS, RUNS)
    sub.add_argument("--scheduler", required=True)
    sub.add_argument("--strategy", default="none")
    sub.add_argument("--seed", type=int, required=True)
    sub.add_argument("--epoch", type=int, required=True, help="counted from 0")


def _sync(options: argparse.Namespace) -> None:
    from bss.tracking.sync import sync

    sync(options.runs)


def _show(options: argparse.Namespace) -> None:
    from bss.console import make_console
    from bss.report.terminal import show

    show(options.report, make_console(), options.markdown)


def _sequence(options: argparse.Namespace) -> None:
    config = load(options)
    from bss.stages.sequence import check_sequence

    trial = (options.scheduler, options.seed, options.epoch, options.strategy)
    check_sequence(config, options.store, options.plans, options.runs, *trial)
