"""What MLflow has of a pipeline run whose steps each have a folder of their own, with outages between them."""

import json
from types import SimpleNamespace

import mlflow
import pytest

from bss.data.store import Store
from bss.files import digest_json
from bss.kubeflow.execution import RUN_ID, end, find_execution, join_execution, open_or_find
from bss.kubeflow.parameters import config_to_json
from bss.kubeflow.trials import collect_trials, take_trial, track_trials, without_tracking
from bss.remote.fetch import DataVersion
from bss.stages.compare import compare
from bss.stages.train import train
from bss.tracking.execution import continue_execution, log_inputs
from bss.tracking.journal import spool_folder
from components.compare.component import compare as compare_step

NOBODY = "http://127.0.0.1:9"


@pytest.fixture
def step(pipeline, tree, make_config, small_store, tmp_path, monkeypatch):
    """Run one trial as the component does, with the MLflow server `address`; return the artifact's folder."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv(RUN_ID, "run-1")
    tree["schedule"]["schedulers"] = {name: tree["schedule"]["schedulers"][name] for name in ("uniform", "control")}
    config = make_config(tree | {"seeds": [0], "tracking": {"models": "all"}})

    def run(name, address):
        runs, trial = tmp_path / name / "runs", tmp_path / name / "model"
        execution = join_execution(config, address)
        used = config if execution else without_tracking(config)
        paths = (small_store, pipeline[0] / "scores", pipeline[0] / "plans", runs)
        train(used, *paths, trials=[(name, 0)], execution=execution)
        take_trial(runs, name, 0, trial / name / "seed=0")
        return trial

    return config, run


@pytest.mark.slow
@pytest.mark.parametrize("down", [(), ("start",), ("control",), ("start", "control", "uniform")])
def test_mlflow_has_every_training_once_whenever_it_did_not_answer(
    down, step, database, small_store, pipeline, tmp_path
):
    (config, run), right = step, database
    open_or_find(config, "pets", NOBODY if "start" in down else right, {})
    trials = [run(name, NOBODY if name in down else right) for name in ("uniform", "control")]
    data, runs, folder = Store.open(small_store), tmp_path / "compare" / "runs", pipeline[0]
    collect_trials(trials, runs)
    execution = open_or_find(config, "pets", right, {})
    journal = continue_execution(spool_folder(runs), execution)
    log_inputs(journal, config, data, folder / "scores", folder / "plans")
    journal.append("end", status=None)
    logged = track_trials(config, data, runs, execution)
    assert logged == (2 if "start" in down else len(down))
    compare(config, small_store, folder / "scores", runs, tmp_path / "compare" / "report", execution)
    end(right, "SUCCEEDED")
    client = mlflow.MlflowClient(right)
    found = client.search_runs([e.experiment_id for e in client.search_experiments()])
    (parent,) = [r for r in found if "mlflow.parentRunId" not in r.data.tags]
    above = {r.data.tags["scheduler"]: r for r in found if r.data.tags["bss.kind"] == "summary"}
    trials = [r for r in found if r.data.tags["bss.kind"] == "trial"]
    assert sorted(above) == sorted(r.data.tags["scheduler"] for r in trials) == ["control", "uniform"]
    assert {r.data.tags["mlflow.parentRunId"] for r in above.values()} == {parent.info.run_id}
    assert {r.info.status for r in found} == {"FINISHED"}
    assert {"report", "scores", "plans", "store", "params.json"} <= {
        item.path for item in client.list_artifacts(parent.info.run_id)
    }
    assert find_execution(right) == execution
    for child in trials:
        assert child.data.tags["mlflow.parentRunId"] == above[child.data.tags["scheduler"]].info.run_id
        assert sorted(m.step for m in client.get_metric_history(child.info.run_id, "val/acc")) == [0, 1, 2]


@pytest.mark.slow
@pytest.mark.parametrize("state", ["COMPLETE", "RUNNING"])
def test_the_step_compare_ends_the_run_so_that_a_backend_that_calls_it_running_changes_nothing(
    state, step, database, small_store, pipeline, tmp_path
):
    (config, run), right = step, database
    open_or_find(config, "pets", right, {})
    models = [SimpleNamespace(path=str(run(name, right))) for name in ("uniform", "control")]
    logged = {}
    compare_step.python_func(
        parameters=config_to_json(config),
        data=json.dumps(vars(DataVersion("", "", "digits", digest_json("data")))),
        mlflow_tracking_uri=right,
        store=SimpleNamespace(path=str(small_store)),
        scores=SimpleNamespace(path=str(pipeline[0] / "scores")),
        plans=SimpleNamespace(path=str(pipeline[0] / "plans")),
        models=models,
        report=SimpleNamespace(path=str(tmp_path / "report")),
        page=SimpleNamespace(path=str(tmp_path / "page.html")),
        metrics=SimpleNamespace(log_metric=logged.__setitem__),
    )
    assert set(logged) == {"uniform test accuracy", "control test accuracy"}
    assert end(right, state).endswith(": FINISHED")
    client = mlflow.MlflowClient(right)
    found = client.search_runs([e.experiment_id for e in client.search_experiments()])
    assert [r.info.status for r in found] == ["FINISHED"] * 5  # pipeline, two schedulers, two trials
