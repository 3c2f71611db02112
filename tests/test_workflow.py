"""The hosted workflow calls what there is: targets of make, scripts, variables that tests read."""

import os
import re
import subprocess
from pathlib import Path

import pytest
from ruamel.yaml import YAML

PROJECT = Path(__file__).parents[1]
WORKFLOWS = sorted((PROJECT / ".github" / "workflows").glob("*.yml"))
SCRIPTS = [PROJECT / ".ci" / "run", PROJECT / ".ci" / "engine"]


def steps(path):
    return [step for job in YAML(typ="safe").load(path)["jobs"].values() for step in job["steps"]]


def commands():
    """Each line of shell that the workflows and their scripts run, but for comments."""
    texts = [step["run"] for path in WORKFLOWS for step in steps(path) if "run" in step]
    texts += [path.read_text(encoding="utf-8") for path in SCRIPTS]
    return [line.strip() for text in texts for line in text.splitlines() if not line.strip().startswith("#")]


def targets():
    text = (PROJECT / "Makefile").read_text(encoding="utf-8")
    phony = re.search(r"^\.PHONY: (.*)$", text, re.MULTILINE).group(1).split()
    rules = set(re.findall(r"^([a-z-]+):", text, re.MULTILINE))
    assert set(phony) <= rules
    return set(phony), set(re.findall(r"^# make ([a-z-]+)", text, re.MULTILINE))


def test_every_target_that_is_called_exists():
    called = {name for line in commands() for name in re.findall(r"(?:^|[;&|(] ?)make ([a-z-]+)", line)}
    assert {"lint", "docs", "test", "test-fast"} <= called
    assert called <= targets()[0]


def test_help_lists_every_target_but_itself():
    phony, listed = targets()
    assert listed == phony - {"help"}


@pytest.mark.process
def test_every_script_that_is_called_exists_and_runs_as_one():
    called = {path for line in commands() for path in re.findall(r"(?:^|source )(\.ci/[a-z]+)", line)}
    assert {PROJECT / path for path in called} == set(SCRIPTS)
    assert os.access(SCRIPTS[0], os.X_OK)
    for script in SCRIPTS:
        done = subprocess.run(["bash", "-n", script], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), script


def test_every_variable_of_its_own_is_one_that_tests_read():
    names = {name for path in WORKFLOWS for step in steps(path) for name in step.get("env", {})}
    assert names == {"BSS_SCREENSHOTS"}
    readers = [path for path in (PROJECT / "tests").rglob("test_*.py") if path != Path(__file__)]
    assert any("BSS_SCREENSHOTS" in path.read_text(encoding="utf-8") for path in readers)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_files_whose_hash_names_a_cache_exist(path):
    patterns = {step["with"]["cache-dependency-path"] for step in steps(path) if "cache" in step.get("with", {})}
    assert patterns
    assert all(list(PROJECT.glob(pattern)) for pattern in patterns)
