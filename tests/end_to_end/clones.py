"""A copy of this project in a repository of its own, and its tools run there as a user would."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import fork_server
from ruamel.yaml import YAML

PROJECT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


def environment(folder):
    """This process's environment with this project's tools, and `folder`'s code."""
    found = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(folder)}
    found.pop("MLFLOW_TRACKING_URI", None)
    return found


def forking_environment(folder):
    """The same, in which `bss` and the steps of the pipeline are forks of a process that has imported the libraries."""
    return environment(folder) | fork_server.variables(folder)


def run(folder, *command, check=True):
    """Run a command in `folder` with this environment's tools; return what it printed."""
    done = subprocess.run(
        command, cwd=folder, env=forking_environment(folder), capture_output=True, text=True, check=False
    )
    if check and done.returncode:
        raise AssertionError(f"{command} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return done.stdout + done.stderr


def write_params(folder, tree):
    YAML().dump(tree, folder / "params.yaml")


def commit(folder, message):
    run(folder, "git", "add", "-A")
    run(folder, "git", "-c", "user.name=test", "-c", "user.email=test@example.org", "commit", "-q", "-m", message)


def clone_project(folder):
    """Copy the project's files into `folder` and make it a repository; params.yaml is left to the caller."""
    names = ("bss", "components", "pipelines", ".dvc", "dvc.yaml", ".dvcignore", ".gitignore", "pyproject.toml")
    for name in names:
        source = PROJECT / name
        ignore = shutil.ignore_patterns("*.pyc.*", "tmp", "cache")  # compiled code stays valid, half of it is of no use
        shutil.copytree(source, folder / name, ignore=ignore) if source.is_dir() else shutil.copy(source, folder / name)
    run(folder, "git", "init", "-q")
