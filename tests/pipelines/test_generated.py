"""The files that the code generates are checked in as the code writes them."""

import subprocess

import pytest

from bss.config import BUILTIN
from pipelines.generated import PROJECT, generated


@pytest.mark.slow
def test_every_generated_file_is_checked_in_as_it_is():
    for path, text in generated().items():
        assert path.read_text(encoding="utf-8") == text, f"run `make compiled` and commit {path.name}"


@pytest.mark.process
def test_the_committed_parameters_are_those_of_the_built_in_data():
    changed = subprocess.run(["git", "diff", "--quiet", "HEAD", "--", "params.yaml"], cwd=PROJECT, check=False)
    if changed.returncode:
        pytest.skip("params.yaml is your own")
    assert (PROJECT / "params.yaml").read_text() == BUILTIN.read_text(), "copy one over the other"
