"""The best model in the registry of a real MLflow server."""

import json

import mlflow
import numpy as np
import pytest
from conftest import small_tree
from servers import free_port, mlflow_server

from bss.config import config_from_tree
from bss.data.store import Store
from bss.errors import BssError
from bss.report.results import Result
from bss.stages.compare import compare
from bss.stages.track_comparison import best_trial
from bss.stages.train import train
from bss.tracking.journal import spool_folder, unsent
from bss.tracking.sync import sync

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def server(empty_database, tmp_path_factory):
    with mlflow_server(tmp_path_factory.mktemp("server"), empty_database) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def client(server, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setattr("bss.tracking.sender.PATIENCE_SECONDS", 300.0)
    return mlflow.MlflowClient(server)


@pytest.fixture
def execute(pipeline, small_root, small_store, tmp_path):
    """Train and compare into a folder of its own; return the folder of the trials."""

    def config(register, experiment, seeds, **tracking):
        tree = small_tree(small_root) | {"seeds": seeds, "compare": {"control": "control"}}
        tree["tracking"] = {"experiment": experiment, "models": "none", "register": register, **tracking}
        tree["schedule"]["schedulers"] = {n: tree["schedule"]["schedulers"][n] for n in ("uniform", "control")}
        return config_from_tree(tree, "params.yaml")

    def run(register, experiment, seeds=(0, 1), trained=True, **tracking):
        of = config(register, experiment, list(seeds), **tracking)
        runs, folder = tmp_path / experiment / "runs", pipeline[0]
        if trained:
            train(of, small_store, folder / "scores", folder / "plans", runs)
        compare(of, small_store, folder / "scores", runs, runs.with_name("report"))
        return runs

    return run


def best(runs, names=("uniform", "control"), seeds=(0, 1)):
    """Return scheduler, seed and val accuracy of the best trial, straight from the files."""
    found = {
        name: [json.loads((runs / name / f"seed={s}" / "metrics.json").read_text())["val/acc"] for s in seeds]
        for name in names
    }
    name = max(names, key=lambda name: np.mean(found[name]))
    return name, seeds[int(np.argmax(found[name]))], max(found[name])


def test_the_best_trials_model_is_registered_once_with_an_alias(client, server, execute, small_store):
    runs = execute("pets classifier", "first")
    name, seed, accuracy = best(runs)
    version = client.get_model_version_by_alias("pets classifier", "best")
    run = client.get_run(version.run_id)
    assert (run.info.run_name, version.version) == (f"{name} seed={seed}", "1")
    (output,) = run.outputs.model_outputs
    assert version.source == client.get_logged_model(output.model_id).artifact_location
    assert version.tags["scheduler"] == name
    assert (version.tags["seed"], version.tags["val_acc"]) == (str(seed), f"{accuracy:.4f}")
    assert version.description.startswith(f"{name} seed {seed}: {name} has the highest mean val accuracy over 2 seeds")
    experiment = client.get_experiment_by_name("first").experiment_id
    (model,) = client.search_logged_models([experiment])  # tracking.models: none leaves out all others
    assert json.loads(model.tags["mlflow.modelVersions"]) == [{"name": "pets classifier", "version": "1"}]
    assert model.tags["mlflow.user"] == run.data.tags["mlflow.user"]
    assert {one.key for one in model.metrics} >= {"test_acc", "val_acc"}
    assert not spool_folder(runs).exists()
    execute("pets classifier", "first", trained=False)
    assert [one.version for one in client.search_model_versions("name = 'pets classifier'")] == ["1"]
    assert len(client.search_logged_models([experiment])) == 1
    mlflow.set_tracking_uri(server)
    loaded = mlflow.pyfunc.load_model("models:/pets classifier@best")
    assert set(loaded.predict(loaded.input_example)["label"]) <= set(Store.open(small_store).classes)


def test_a_second_run_moves_the_alias_to_its_best_model(client, execute):
    execute("moved", "before", seeds=[0])
    before = client.get_model_version_by_alias("moved", "best")
    runs = execute("moved", "after", seeds=[1])
    name, _, _ = best(runs, seeds=[1])
    after = client.get_model_version_by_alias("moved", "best")
    assert (before.version, after.version) == ("1", "2")
    assert client.get_run(after.run_id).info.run_name == f"{name} seed=1"
    assert client.get_model_version("moved", "1").aliases == []
    assert client.get_model_version("moved", "1").run_id == before.run_id != after.run_id


def test_a_registry_that_does_not_answer_costs_the_registration_alone(client, execute, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        patch.setenv("MLFLOW_REGISTRY_URI", f"http://127.0.0.1:{free_port()}")
        runs = execute("later", "no-registry")
        assert "the model registry rejects later" in capsys.readouterr().out.replace("\n", " ")
        experiment = client.get_experiment_by_name("no-registry").experiment_id
        found = client.search_runs([experiment])
        assert {run.info.status for run in found} == {"FINISHED"}
        assert len(found) == 1 + 2 + 4
        assert len(client.search_logged_models([experiment])) == 1
        (journal,) = unsent(spool_folder(runs))
        assert [line["op"] for line, _ in journal.read()] == ["continue", "model", "register", "end"]
        with pytest.raises(BssError, match="MLflow rejects it: the model registry rejects later"):
            sync(runs)
    sync(runs)
    assert client.get_model_version_by_alias("later", "best").version == "1"
    assert len(client.search_logged_models([experiment])) == 1
    assert not spool_folder(runs).exists()


def test_with_strict_it_fails_the_stage_and_says_what_refuses(client, execute, monkeypatch):
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(BssError, match="the model registry rejects strict") as caught:
        execute("strict", "strict", strict=True)
    assert "does not answer" not in str(caught.value)


def test_a_server_that_is_gone_gets_the_model_from_sync(client, server, execute, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
        runs = execute("synced", "outage", models="all")
        assert "outage" not in {one.name for one in client.search_experiments()}
    sync(runs)
    name, seed, _ = best(runs)
    version = client.get_model_version_by_alias("synced", "best")
    assert client.get_run(version.run_id).info.run_name == f"{name} seed={seed}"
    assert len(client.search_logged_models([client.get_experiment_by_name("outage").experiment_id])) == 4
    sync(runs)
    assert len(client.search_model_versions("name = 'synced'")) == 1


def test_trainings_without_mlflow_have_no_model_to_register(client, execute, capsys):
    execute("none", "untracked", enabled=False)
    assert "untracked" not in {one.name for one in client.search_experiments()}
    assert "none" not in {one.name for one in client.search_registered_models()}


def result(val, test, tmp_path):
    history = {"val/acc": [val]} if val is not None else {}
    metrics = {"test/acc": test} | ({"val/acc": val} if val is not None else {})
    return Result(metrics, history, 1.0, tmp_path)


@pytest.mark.parametrize(
    ("accuracies", "right"),
    [
        # The highest single val accuracy is of uniform, the highest mean of control; test has no say.
        ({"uniform": [(0.9, 1.0), (0.1, 1.0)], "control": [(0.6, 0.0), (0.7, 0.0)]}, ("control", 1)),
        ({"uniform": [(0.5, 0.1), (0.5, 0.9)], "control": [(0.5, 0.9), (0.5, 0.9)]}, ("uniform", 0)),  # all equal
        # Without val the published protocol watches test.
        ({"uniform": [(None, 0.2), (None, 0.4)], "control": [(None, 0.3), (None, 0.1)]}, ("uniform", 1)),
    ],
)
def test_val_chooses_the_row_by_its_mean_and_then_the_seed(accuracies, right, tree, make_config, tmp_path):
    tree["schedule"]["schedulers"] = {n: tree["schedule"]["schedulers"][n] for n in ("uniform", "control")}
    results = {name: [result(*pair, tmp_path) for pair in pairs] for name, pairs in accuracies.items()}
    trial, _ = best_trial(make_config(tree), results)
    assert (trial.scheduler, trial.seed) == right


@pytest.mark.parametrize("name", ["", "a/b", "a:b", "it's", "..", " a"])
def test_a_name_that_the_registry_refuses_is_refused_before_anything_is_trained(name, tree, make_config):
    with pytest.raises(BssError, match="tracking: `register` must be null or a name"):
        make_config(tree | {"tracking": {"register": name}})
