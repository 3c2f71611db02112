"""Two pipelines at once against one MLflow database: neither disturbs the other."""

import json
import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest
from conftest import small_tree

from bss.config import config_from_tree
from bss.files import digest_file
from bss.stages.compare import compare
from bss.stages.train import train
from bss.tracking.destination import connect

pytestmark = pytest.mark.process

NAMES = ("uniform", "control", "bss-l-online")


def pipeline_of(root, store, folder, work, uri):
    """Train and compare as one pipeline, in a process and a folder of its own."""
    os.environ["MLFLOW_TRACKING_URI"] = uri
    tree = small_tree(Path(root)) | {"seeds": [0], "tracking": {"models": "all"}}
    tree["schedule"]["schedulers"] = {name: tree["schedule"]["schedulers"][name] for name in NAMES}
    config = config_from_tree(tree, "params.yaml")
    train(config, store, folder / "scores", folder / "plans", work / "runs")
    compare(config, store, folder / "scores", work / "runs", work / "report")


def test_two_pipelines_at_once(pipeline, small_root, small_store, tmp_path):
    folder, _ = pipeline
    uri = f"sqlite:///{tmp_path}/shared.db"
    context = multiprocessing.get_context("spawn")
    places = [tmp_path / "one", tmp_path / "two"]
    processes = []
    for place in places:
        place.mkdir()
        arguments = (str(small_root), small_store, folder, place, uri)
        processes.append(context.Process(target=pipeline_of, args=arguments))
        processes[-1].start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    client = mlflow.MlflowClient(uri)
    (experiment,) = [e for e in client.search_experiments() if e.name != "Default"]
    runs = client.search_runs([experiment.experiment_id])
    parents = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    assert len(parents) == 2
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert len(client.search_logged_models([experiment.experiment_id])) == 2 * len(NAMES)
    for parent in parents:
        above = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
        assert sorted(run.data.tags["scheduler"] for run in above) == sorted(NAMES)
        ids = {run.info.run_id for run in above}
        children = [run for run in runs if run.data.tags.get("mlflow.parentRunId") in ids]
        assert sorted(run.data.tags["scheduler"] for run in children) == sorted(NAMES)
        assert "report" in {item.path for item in client.list_artifacts(parent.info.run_id)}
        for child in children:
            steps = [m.step for m in client.get_metric_history(child.info.run_id, "val/acc")]
            assert sorted(steps) == [0, 1, 2]
    for place in places:
        assert not (place / "runs.mlflow").exists()
        assert set(json.loads((place / "runs/mlflow.json").read_text())["records"]) == {f"{n}/seed=0" for n in NAMES}
        for name in NAMES:
            for file in ("metrics.json", "model.pt", "sequences.parquet"):
                right = folder / "runs" / name / "seed=0" / file
                assert digest_file(place / "runs" / name / "seed=0" / file) == digest_file(right)


KILLED_OVER_IT = """
import os, sys
from sqlalchemy import event
from sqlalchemy.engine import Engine
from bss.tracking.destination import connect

left = int(sys.argv[2])

@event.listens_for(Engine, "before_cursor_execute")
def count(connection, cursor, statement, *_):
    global left
    left -= "CREATE TABLE" in statement
    if left < 0:
        os._exit(9)

connect(sys.argv[1])
"""


@pytest.mark.parametrize("tables", [0, 3, 30])
def test_a_process_that_is_killed_while_it_makes_the_database_leaves_none(tables, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    killed = subprocess.run([sys.executable, "-c", KILLED_OVER_IT, uri, str(tables)], check=False)
    assert killed.returncode == 9
    assert not (tmp_path / "mlflow.db").exists()
    assert connect(uri).get_experiment_by_name("Default") is not None
    assert [path.name for path in tmp_path.iterdir()] == ["mlflow.db"]
