"""The stages after the data: measure, schedule, train and compare; tune and audit, which belong between them."""

import argparse
from pathlib import Path

from bss.commands.options import (
    AUDIT,
    PLANS,
    REPORT,
    RUNS,
    SCORES,
    STORE,
    TUNE,
    Add,
    above_zero,
    add_paths,
    load,
    probability,
)
from bss.errors import BssError


def add_stage_commands(add: Add) -> None:
    """Add the commands from measure to audit."""
    sub = add("measure", _measure, "stage 2: measure the balance score of each sample")
    add_paths(sub, STORE, SCORES)
    sub = add("schedule", _schedule, "stage 3: plan each scheduler's sequences")
    add_paths(sub, STORE, SCORES, PLANS)
    sub = add("train", _train, "stage 4: train every scheduler and strategy with every seed")
    add_paths(sub, STORE, SCORES, PLANS, RUNS)
    sub.add_argument("--scheduler", action="append", help="train only this scheduler; repeatable")
    sub.add_argument("--strategy", action="append", help="train only with this strategy; repeatable")
    sub.add_argument("--seed", type=int, action="append", help="train only this seed; repeatable")
    sub = add("tune", _tune, "search the learning rate for uniform shuffling on val, for all rows to share")
    add_paths(sub, STORE, TUNE)
    sub.add_argument(
        "--low", type=above_zero, metavar="RATE", help="lowest rate (default: a tenth of the configured rate)"
    )
    sub.add_argument("--high", type=above_zero, metavar="RATE", help="highest rate (default: 10x the configured rate)")
    sub.add_argument("--points", type=int, default=5, help="log-spaced rates to try; default: %(default)s")
    sub.add_argument("--epochs", type=int, help="epochs of each run (default: train.epochs)")
    sub.add_argument("--seed", type=int, action="append", help="train with this seed; repeatable (default: the first)")
    sub.add_argument("--write", action="store_true", help="set the best rate in the parameter file")
    sub = add("compare", _compare, "stage 5: compare the schedulers over the seeds")
    add_paths(sub, STORE, SCORES, RUNS, AUDIT, REPORT)
    sub.add_argument("--before", type=Path, metavar="JSON", help="an earlier comparison.json, before decisions")
    sub = add("audit", _audit, "find wrong pairs, and which modality is to blame")
    add_paths(sub, STORE, AUDIT)
    either = sub.add_mutually_exclusive_group()  # the second is about the last audit, and audits nothing
    either.add_argument("--if-enabled", action="store_true", help="audit nothing unless audit.enabled is true")
    either.add_argument(
        "--apply",
        type=probability,
        metavar="P",
        help="write decisions.csv from the last audit, for samples that are wrong with more than this probability",
    )


def _measure(options: argparse.Namespace) -> None:
    from bss.stages.measure import measure

    measure(load(options), options.store, options.scores)


def _schedule(options: argparse.Namespace) -> None:
    from bss.stages.schedule import schedule

    schedule(load(options), options.store, options.scores, options.plans)


def _train(options: argparse.Namespace) -> None:
    config = load(options)
    from bss.stages.train import train
    from bss.training.trial_spec import TrialId, all_trials

    every = all_trials(config)
    trials = every
    for key in TrialId._fields:
        asked, known = getattr(options, key), dict.fromkeys(getattr(trial, key) for trial in every)
        for found in asked or []:
            if found not in known:
                raise BssError(f"--{key} {found}: {options.params} has {', '.join(map(str, known))}.")
        trials = [trial for trial in trials if not asked or getattr(trial, key) in asked]
    asked_for_some = any(getattr(options, key) for key in TrialId._fields)
    if not trials:
        raise BssError(f"{options.params}: no entry of `combinations` matches both --scheduler and --strategy.")
    train(config, options.store, options.scores, options.plans, options.runs, trials if asked_for_some else None)


def _tune(options: argparse.Namespace) -> None:
    config = load(options)
    from bss.stages.tune import tune

    grid = (options.low, options.high, options.points, options.epochs, options.seed)
    tune(config, options.params, options.store, options.tune, *grid, options.write)


def _compare(options: argparse.Namespace) -> None:
    config = load(options)
    from bss.stages.compare import compare

    folders = (options.store, options.scores, options.runs, options.report)
    compare(config, *folders, audit=options.audit, before=options.before)


def _audit(options: argparse.Namespace) -> None:
    config = load(options)
    if options.apply is not None:
        from bss.stages.apply_audit import apply_audit

        apply_audit(config, options.store, options.audit, options.apply)
    elif options.if_enabled and not config.audit.enabled:
        from bss.audit.off import write_note

        write_note(options.audit)
        print("audit: off (audit.enabled in params.yaml)")
    else:
        from bss.stages.audit import audit

        audit(config, options.store, options.audit)
