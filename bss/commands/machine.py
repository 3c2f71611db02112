"""The commands about this machine: doctor and ui."""

import argparse

from bss.commands.options import PARAMS, Add, above_zero


def add_doctor(add: Add) -> None:
    """Add the command that checks the installation."""
    sub = add("doctor", _doctor, "check the installation, the device and the servers")
    sub.set_defaults(params=None)
    sub.add_argument("--bucket", metavar="S3_URL", help="require access to s3://bucket[/prefix]")
    sub.add_argument("--need-shared-memory", type=above_zero, metavar="GIB", help="require a /dev/shm of this size")


def add_ui(add: Add) -> None:
    """Add the command that starts the MLflow UI."""
    sub = add("ui", _ui, "start the MLflow UI on this machine")
    sub.add_argument("--port", type=int, default=5000, help="default: %(default)s")


def _doctor(options: argparse.Namespace) -> int:
    from bss.doctor import doctor

    params = options.params
    if params is None and (PARAMS.exists() or options.overrides):
        params = PARAMS
    return doctor(params, options.overrides, options.bucket, options.need_shared_memory)


def _ui(options: argparse.Namespace) -> int:
    from bss.tracking.server import run_ui

    return run_ui(options.port)
