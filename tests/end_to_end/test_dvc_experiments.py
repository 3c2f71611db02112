"""Temporary DVC experiments of the pipeline, and data that DVC links to its cache."""

import json

import pytest
from clones import clone_project, commit, run, write_params
from conftest import make_rows, small_tree, write_manifest

from bss.config import config_from_tree, config_to_tree

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A repository with this project's files and own data under DVC, all committed; nothing has run."""
    folder = tmp_path_factory.mktemp("a project")
    clone_project(folder)
    root = folder / "data" / "pets"
    root.mkdir(parents=True)
    write_manifest(root, make_rows(root))
    tree = small_tree(root) | {"seeds": [0], "tracking": {"enabled": True, "models": "none"}}
    tree["prepare"]["root"] = "data/pets"
    tree["schedule"]["schedulers"] = {name: tree["schedule"]["schedulers"][name] for name in ("uniform", "control")}
    tree["compare"] = {"control": "control"}
    write_params(folder, config_to_tree(config_from_tree(tree, "params.yaml")) | {"generate": {}})
    run(folder, "dvc", "add", "data/pets")
    commit(folder, "project")
    return folder


def tracked_runs(folder):
    """The MLflow runs in the folder's database: the finished parents by their epochs, each with its children."""
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{folder}/mlflow.db")
    (experiment,) = [e for e in client.search_experiments() if e.name != "Default"]
    assert experiment.name == "pets"
    runs = client.search_runs([experiment.experiment_id])
    assert {found.info.status for found in runs} == {"FINISHED"}
    parents = [found for found in runs if "mlflow.parentRunId" not in found.data.tags]
    parent_of = {found.info.run_id: found.data.tags.get("mlflow.parentRunId") for found in runs}
    children = {
        parent.info.run_id: sum(
            found.data.tags["bss.kind"] == "trial" and parent_of[parent_of[found.info.run_id]] == parent.info.run_id
            for found in runs
        )
        for parent in parents
    }
    reports = {len(client.list_artifacts(parent.info.run_id, "report")) > 0 for parent in parents}
    assert reports == {True}
    return {int(parent.data.params["train.epochs"]): children[parent.info.run_id] for parent in parents}


def test_own_data_can_be_added_to_dvc(project):
    tracked = run(project, "git", "ls-files", "data").split()
    assert "data/pets.dvc" in tracked
    assert not [name for name in tracked if name.startswith("data/pets/")]
    assert run(project, "git", "status", "--porcelain") == ""


def test_temporary_and_queued_experiments_record_in_the_database_of_the_checkout(project):
    output = run(project, "dvc", "exp", "run", "--temp", "--set-param", "train.epochs=2", "--name", "temporary")
    assert "Ran experiment(s): temporary" in output
    assert tracked_runs(project) == {2: 2}
    for epochs in (3, 4):
        run(project, "dvc", "exp", "run", "--queue", "-S", f"train.epochs={epochs}", "--name", f"queued-{epochs}")
    run(project, "dvc", "exp", "run", "--run-all", "--jobs", "2")  # both at once
    assert tracked_runs(project) == {2: 2, 3: 2, 4: 2}
    shown = json.loads(run(project, "dvc", "exp", "show", "--json"))
    text = json.dumps(shown)
    assert all(name in text for name in ("temporary", "queued-3", "queued-4"))
    assert not list((project / ".dvc" / "tmp").rglob("mlflow.db*"))
    assert not (project / "outputs").exists()  # of the workspace: nothing ran there


@pytest.mark.parametrize("cache", ["own", "relative", "absolute", "global"])
def test_data_that_dvc_links_to_its_cache_are_prepared(cache, small_root, tmp_path, monkeypatch):
    folder, shared = tmp_path / "project", tmp_path / "shared cache"
    folder.mkdir()
    run(folder, "git", "init", "-q")
    run(folder, "dvc", "init", "-q")
    run(folder, "dvc", "config", "--local", "cache.type", "symlink")
    monkeypatch.setenv("DVC_GLOBAL_CONFIG_DIR", str(tmp_path / "global"))
    if cache == "relative":
        run(folder, "dvc", "cache", "dir", "../shared cache")
    elif cache == "absolute":
        run(folder, "dvc", "cache", "dir", "--local", str(shared))
    elif cache == "global":
        run(folder, "dvc", "cache", "dir", "--global", str(shared))
    root = folder / "data" / "pets"
    root.mkdir(parents=True)
    write_manifest(root, make_rows(root))
    tree = small_tree(root)
    tree["prepare"]["root"] = "data/pets"
    write_params(folder, tree)
    run(folder, "bss", "prepare", "--store", "plain")
    run(folder, "dvc", "add", "data/pets")
    assert (root / "manifest.csv").is_symlink()
    assert (root / "train-cat-0.wav").resolve().is_relative_to(folder / ".dvc" if cache == "own" else shared)
    run(folder, "bss", "prepare", "--store", "linked")
    for name in ("audio.npy", "image.npy", "vector.npy", "samples.parquet", "files.sha256"):
        assert (folder / "linked" / name).read_bytes() == (folder / "plain" / name).read_bytes()
    run(folder, "bss", "init", "--manifest", "data/pets/manifest.csv", "--output", "suggested.yaml")
    # A link to what is no object in the cache is none of DVC's.
    (root / "train-cat-0.wav").unlink()
    (root / "train-cat-0.wav").symlink_to(folder / ".dvc" / "config")
    refused = run(folder, "bss", "prepare", "--store", "refused", check=False)
    assert "a link that leaves the data root" in refused
    assert "prepare.links: follow" in refused
