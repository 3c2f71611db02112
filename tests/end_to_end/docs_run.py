"""Documented commands, typed into a shell."""

import subprocess

from clones import forking_environment
from docs_table import COMMANDS

TYPED: set[tuple[str, str]] = set()
"""Page and text of the commands that were run."""


def filled_in(page, command, instead):
    """Return the documented command with each address or number of the docs replaced by one of this test."""
    assert command in COMMANDS[page], f"docs_table.py does not have it: {command}"
    TYPED.add((page, command))
    for old, new in instead.items():
        assert old in command
        command = command.replace(old, new)
    return command


def typed(folder, page, command, instead=None, status=0, **variables):
    """Run a documented command in a shell; return what it printed. Its exit status must be `status`."""
    text = filled_in(page, command, instead or {})
    done = subprocess.run(
        ["bash", "-c", text], cwd=folder, env=forking_environment(folder) | variables, timeout=300,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == status, f"{text} ended with {done.returncode}:\n{done.stdout}"
    return done.stdout


def exported(page, command, value=None):
    """Return the variable that a documented `export` sets, with `value` in place of the docs' dots or address."""
    name, _, shown = filled_in(page, command, {}).removeprefix("export ").partition("=")
    return {name: value or shown}


def words(text):
    return " ".join(text.split())
