"""Around kfp's own local runner: what it leaves changed behind it, and what is refused before it starts."""

import builtins

import pytest
from conftest import small_tree
from kfp.local.logging_utils import indented_print
from ruamel.yaml import YAML

from bss.cli import main
from pipelines.run_local import _own_print


def test_print_is_restored_where_steps_overlapped():
    own = builtins.print
    with _own_print():
        first, second = indented_print(), indented_print()
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        second.__exit__(None, None, None)
        assert builtins.print is not own  # kfp's bug that is fixed here
    assert builtins.print is own


@pytest.mark.parametrize(("root", "path"), [("data/pets", "data/pets"), ("/srv/pets", "data/birds")])
def test_own_data_without_a_repository_are_refused_before_anything_runs(root, path, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    YAML().dump(small_tree(root) | {"generate": {}}, tmp_path / "params.yaml")
    assert main(["run-local", "--root", "runs"]) == 1
    printed, errors = capfd.readouterr()
    assert printed == ""
    assert errors.splitlines() == [
        "bss: --data-repository: missing, and params.yaml generates no built-in data. The steps get data from S3, as "
        "prepare.root: s3://bucket/prefix, or from a git repository: add "
        f"--data-repository URL --data-path {path}, and --data-revision unless it is the "
        "default branch (docs/data.md)."
    ]
    assert not (tmp_path / "runs").exists()
