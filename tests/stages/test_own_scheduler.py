"""The scheduler of docs/sampler.md, one file, in a copy of the package: through every stage, and in the sampler."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import fork_server
import pyarrow.parquet
import pytest
from conftest import small_tree
from ruamel.yaml import YAML

import bss
from bss.files import read_json

pytestmark = pytest.mark.process

PACKAGE = Path(bss.__file__).parent
PAGE = PACKAGE.parent / "docs" / "sampler.md"
BSS = "import sys; from bss.cli import main; sys.exit(main())"
STAGES = ("prepare", "measure", "schedule", "train", "compare")


@pytest.fixture(scope="module")
def project(tmp_path_factory, small_root):
    """A folder where each stage ran with the copy of the package."""
    folder = tmp_path_factory.mktemp("own")
    shutil.copytree(PACKAGE, folder / "bss", ignore=shutil.ignore_patterns("__pycache__"))
    (text,) = re.findall(r'```python\n("""Alternating.*?)```', PAGE.read_text(encoding="utf-8"), flags=re.S)
    (folder / "bss" / "balance" / "schedulers" / "alternating.py").write_text(text)
    tree = small_tree(small_root)
    tree["schedule"]["schedulers"] = {
        "uniform": {"kind": "uniform"},
        "alternating": {"kind": "alternating", "shuffled_first": True},
    }
    del tree["compare"]["control"]
    with (folder / "params.yaml").open("w") as file:
        YAML(typ="safe").dump(tree, file)
    for stage in STAGES:
        run(folder, stage)
    return folder


def python(folder, script, *arguments):
    """Run `script` with the copy of the package."""
    environment = os.environ | fork_server.variables(folder)
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.run(command, check=False, cwd=folder, env=environment, capture_output=True, text=True)


def run(folder, *arguments):
    done = python(folder, BSS, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def read_table(path):
    return pyarrow.parquet.read_table(path).to_pydict()


def test_it_is_trained_and_compared(project):
    compared = read_json(project / "outputs" / "report" / "comparison.json", "compare")
    assert set(compared["schedulers"]) == {"uniform", "alternating"}
    assert "alternating" in (project / "outputs" / "report" / "report.html").read_text()


def test_its_second_epoch_is_the_ranking_and_the_others_are_shuffled(project):
    plan = read_table(project / "outputs" / "plans" / "alternating" / "seed=0.parquet")
    by_row = dict(zip(plan["index"], plan["score"], strict=True))
    shown = read_table(project / "outputs" / "runs" / "alternating" / "seed=0" / "sequences.parquet")["sequence"]
    scores = [[by_row[row] for row in sequence] for sequence in shown]
    assert [epoch == sorted(epoch, reverse=True) for epoch in scores] == [False, True, False]
    assert all(sorted(sequence) == sorted(by_row) for sequence in shown)


def test_its_sequences_are_made_again_from_the_plan(project):
    for epoch in range(3):
        printed = run(project, "sequence", "--scheduler", "alternating", "--seed", "1", "--epoch", str(epoch))
        assert "as recorded" in printed


def test_an_unknown_key_of_it_is_named(project):
    text = (project / "params.yaml").read_text().replace("shuffled_first", "shuffled_last")
    (project / "wrong.yaml").write_text(text)
    done = python(project, BSS, "schedule", "--params", "wrong.yaml")
    assert done.returncode == 1
    assert "schedule.schedulers.alternating.shuffled_last" in done.stderr


def test_the_sampler_takes_it(project):
    script = (
        "from bss.balance import SequenceSampler\n"
        "from bss.balance.schedulers.alternating import Alternating\n"
        "sampler = SequenceSampler(4, Alternating(), 0, scores=[0.1, 0.4, 0.2, 0.3])\n"
        "print(list(sampler))\n"
        "sampler.set_epoch(0)\n"
        "print(list(sampler))"
    )
    done = python(project, script)
    assert done.stdout.splitlines()[1] == "[1, 3, 2, 0]", done.stderr
