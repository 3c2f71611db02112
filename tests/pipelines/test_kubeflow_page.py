"""docs/kubeflow.md has every option, exit status and key of the secret that the code has."""

import argparse
import re
from pathlib import Path

import pytest

from bss.commands.kubeflow import add_kubeflow_commands
from bss.launch.pods import OBJECT_STORE
from pipelines import wait

PAGE = (Path(__file__).parents[2] / "docs" / "kubeflow.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def options():
    """The options of each command, by its name."""
    commands = {}

    def add(name, *_):
        commands[name] = argparse.ArgumentParser(add_help=False)
        return commands[name]

    add_kubeflow_commands(add)
    return {
        name: {option for action in parser._actions for option in action.option_strings}
        for name, parser in commands.items()
    }


def test_every_option_is_on_the_page_and_those_on_the_page_exist(options):
    every = set().union(*options.values())
    assert {option for option in every if not re.search(rf"(?<![\w-]){option}(?![\w-])", PAGE)} == set()
    used = re.findall(r"bss (submit|run-local|compile) ((?:\\\n|.)*)", PAGE)
    given = {(name, option) for name, rest in used for option in re.findall(r"(?<![\w-])--[a-z-]+", rest)}
    common = {"--set", "--params"}
    assert len(given) >= 12
    assert {(name, option) for name, option in given if option not in options[name] | common} == set()


def test_exit_statuses():
    table = PAGE[PAGE.index("| exit status |") :]
    listed = [int(status) for status in re.findall(r"^\| (\d+) \|", table[: table.index("\n\n")], re.MULTILINE)]
    assert listed == sorted({*wait.ENDED.values(), wait.CONTACT_LOST, 130})


def test_keys_of_the_secret():
    section = PAGE[PAGE.index("## 2. The secret") : PAGE.index("## 3. ")]
    assert set(re.findall(r"\bAWS_[A-Z_]*[A-Z]\b", section)) == set(OBJECT_STORE)
