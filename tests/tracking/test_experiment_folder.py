"""Which checkout a temporary DVC experiment came from."""

from pathlib import Path

import pytest

from bss.tracking.destination import tracking_uri, warn_if_lost
from bss.tracking.experiment_folder import checkout_folder, is_lost
from bss.tracking.journal import Journal
from bss.tracking.sender import sending


@pytest.fixture(autouse=True)
def outside_of_dvc(monkeypatch):
    for name in ("DVC_ROOT", "DVC_EXP_BASELINE_REV", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)


def make_clone(project, *below):
    """A folder such as DVC makes for an experiment of the DVC project `project`."""
    clone = project.joinpath(".dvc", "tmp", "exps", *below)
    (clone / ".dvc").mkdir(parents=True)
    return clone


def make_experiment(monkeypatch, project):
    monkeypatch.setenv("DVC_ROOT", str(project))
    monkeypatch.setenv("DVC_EXP_BASELINE_REV", "0" * 40)


@pytest.mark.parametrize("below", [("tmpab",), ("standalone", "tmpab")], ids=["queue", "temp"])
@pytest.mark.parametrize("named", [True, False])
def test_an_experiment_is_traced_to_its_checkout_with_or_without_dvcs_variables(tmp_path, monkeypatch, below, named):
    project = tmp_path / "a project"
    clone = make_clone(project, *below)
    if named:
        make_experiment(monkeypatch, project)
    assert checkout_folder(clone) == project
    (clone / "deep").mkdir()
    assert checkout_folder(clone / "deep") == project / "deep"
    monkeypatch.chdir(clone)
    assert tracking_uri() == f"sqlite:///{project}/mlflow.db"
    assert not is_lost(clone)


def test_a_project_in_a_folder_of_its_repository(tmp_path, monkeypatch):
    """`dvc init --subdir`: DVC clones the whole repository, below the .dvc/tmp of the project in it."""
    project = tmp_path / "repository" / "project"
    clone = project / ".dvc" / "tmp" / "exps" / "tmpab" / "project"
    (clone / ".dvc").mkdir(parents=True)
    make_experiment(monkeypatch, project)
    assert checkout_folder(clone) == project


def test_a_temporary_folder_behind_a_link(tmp_path, monkeypatch):
    project, disk = tmp_path / "project", tmp_path / "disk"
    (project / ".dvc").mkdir(parents=True)
    clone = disk / "exps" / "tmpab"
    (clone / ".dvc").mkdir(parents=True)
    (project / ".dvc" / "tmp").symlink_to(disk)
    make_experiment(monkeypatch, project)
    assert checkout_folder(project / ".dvc" / "tmp" / "exps" / "tmpab") == project


def test_elsewhere_a_folder_stands_for_itself(tmp_path, monkeypatch):
    project, other = tmp_path / "project", tmp_path / "other"
    for folder in (project, other):
        (folder / ".dvc").mkdir(parents=True)
    plain = tmp_path / "plain"
    plain.mkdir()
    for folder in (project, other, plain):
        assert checkout_folder(folder) == folder
    make_experiment(monkeypatch, project)  # in the workspace, or a variable of another project
    for folder in (project, other, plain):
        assert checkout_folder(folder) == folder
    monkeypatch.chdir(project)
    assert tracking_uri() == f"sqlite:///{project}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    assert tracking_uri() == "http://127.0.0.1:1"


def test_an_experiment_whose_checkout_is_not_found_says_what_to_set(tmp_path, monkeypatch):
    clone = tmp_path / "moved"
    (clone / ".dvc").mkdir(parents=True)
    monkeypatch.chdir(clone)
    said = []
    warn_if_lost(said.append)
    make_experiment(monkeypatch, clone)  # an experiment in the workspace
    warn_if_lost(said.append)
    assert said == []
    make_experiment(monkeypatch, tmp_path / "gone")
    warn_if_lost(said.append)
    assert len(said) == 1
    assert said[0] == (
        f"MLflow: this DVC experiment runs in {clone}. DVC may delete that folder, mlflow.db included, and bss could "
        "not find the checkout that started it. Set MLFLOW_TRACKING_URI."
    )
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    warn_if_lost(said.append)
    assert len(said) == 1


@pytest.mark.slow
def test_what_a_server_did_not_take_is_moved_to_the_checkout(tmp_path, monkeypatch):
    project = tmp_path / "project"
    clone = make_clone(project, "tmpab")
    monkeypatch.chdir(clone)
    runs, said = Path("outputs", "runs"), []
    journal = Journal.create(Path("outputs", "runs.mlflow"))
    uri = "http://127.0.0.1:1"
    values = {"record": "r", "experiment": "pets", "uri": uri, "name": "n", "tags": {}, "params": {}}
    journal.append("run", **values, parent=None, replaces=None)
    with sending(runs, uri, False, said.append):
        pass
    kept = project / "outputs" / "runs.mlflow" / journal.folder.name
    assert [record["op"] for record, _ in Journal(kept).read()] == ["run"]
    assert not journal.folder.exists()
    assert f"bss sync (in {project})" in said[-1]
