"""The built-in data by `dvc repro`, as processes and in containers: the same trials, to the bit."""

import json
import os

import mlflow
import pytest
from clones import clone_project, commit, run, write_params
from ruamel.yaml import YAML

from bss.config import BUILTIN, config_to_tree, load_config

pytestmark = pytest.mark.process

IMAGE = os.environ.get("BSS_TEST_IMAGE")
"""Image of this code, built by the gate where there is a Docker engine."""
in_containers = pytest.mark.skipif(IMAGE is None, reason="BSS_TEST_IMAGE names no image: no Docker engine here")

RESULTS = ("metrics.json", "sequences.parquet", "history.csv", "predictions.parquet", "model.pt", "network.json")


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """The project with parameters that train in seconds; `dvc repro` ran in it."""
    folder = tmp_path_factory.mktemp("three-ways")
    clone_project(folder)
    tree = config_to_tree(load_config(BUILTIN))
    tree["seeds"] = [0, 1]
    tree["train"] |= {"epochs": 2, "decay": {"at": [1], "factor": 0.1}}
    tree["measure"]["warmup_epochs"] = 1
    kept = ("uniform", "bss-h-trimmed", "bss-l-online")
    tree["schedule"]["schedulers"] = {name: tree["schedule"]["schedulers"][name] for name in kept}
    tree |= {"strategies": {"none": {"kind": "none"}}, "combinations": None}
    tree["compare"] |= {"control": None, "resamples": 1000}
    write_params(folder, tree)
    commit(folder, "project")
    run(folder, "dvc", "repro")
    return folder


def results(folders):
    """The bytes of what each trial left behind, by scheduler and seed."""
    found = {}
    for folder in folders:
        parameters = json.loads((folder / "provenance.json").read_text())["parameters"]
        trial = parameters["scheduler_name"], parameters["seed"]
        found[trial] = {name: (folder / name).read_bytes() for name in RESULTS}
    return found


def compared(report):
    return json.loads((report / "comparison.json").read_text())


def pipeline_run(root):
    """The folder of the newest run below `root`."""
    return max(root.glob("bss-*"), key=lambda path: path.name)


def test_processes_give_what_dvc_gives(clone):
    output = run(clone, "bss", "run-local", "--root", "kubeflow")
    assert "uniform" in output.partition("finished with status")[2]
    folder = pipeline_run(clone / "kubeflow")
    by_dvc = results((clone / "outputs" / "runs").glob("*/seed=*"))
    assert len(by_dvc) == 6
    assert results(folder.glob("for-loop-*/train/model/*/seed=*")) == by_dvc
    assert compared(folder / "compare" / "report") == compared(clone / "outputs" / "report")
    assert (folder / "compare" / "page").read_text().startswith("<!doctype html>")
    assert "| all | " in (folder / "prepare" / "summary").read_text()
    for summary in folder.glob("for-loop-*/measure/summary"):
        assert "after the warm-up" in summary.read_text()
    for seed in ("seed=0", "seed=1"):
        joined = folder / "schedule" / "scores" / seed / "scores.parquet"
        assert joined.read_bytes() == (clone / "outputs" / "scores" / seed / "scores.parquet").read_bytes()
    assert "| bss-h-trimmed | " in (folder / "schedule" / "summary").read_text()


def test_a_second_run_reuses_what_did_not_change(clone):
    output = run(clone, "bss", "run-local", "--root", "kubeflow", "--set", "compare.resamples=1500")
    executed = [line.split("'")[1] for line in output.splitlines() if "Executing task" in line]
    assert len(executed) == 3
    assert all(name in " ".join(executed) for name in ("start", "compare", "finish"))
    assert "compare: 6 trials were reused" in output
    client = mlflow.MlflowClient(f"sqlite:///{clone}/kubeflow/mlflow.db")
    (experiment,) = [e for e in client.search_experiments() if e.name == "digits"]
    runs = client.search_runs([experiment.experiment_id], max_results=100)
    parents = [r for r in runs if "mlflow.parentRunId" not in r.data.tags]
    assert len(parents) == 2
    for parent in parents:
        above = [r for r in runs if r.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
        ids = {r.info.run_id for r in above}
        assert {r.data.tags["bss.kind"] for r in above} == {"summary"}
        children = [r for r in runs if r.data.tags.get("mlflow.parentRunId") in ids]
        assert len(children) == 6
        assert {r.info.status for r in [parent, *children]} == {"FINISHED"}
        assert {r.data.tags["bss.kfp_run_id"] for r in children} == {parent.data.tags["bss.kfp_run_id"]}
        names = {item.path for item in client.list_artifacts(parent.info.run_id)}
        assert {"report", "scores", "plans", "store", "params.json"} <= names


DIVERGING = "--set train.optimiser.learning_rate=1e30 --set measure.warmup_epochs=0 --scheduler uniform --seed 0"


def test_a_step_that_fails_fails_the_run_and_says_why(clone):
    output = run(clone, "bss", "run-local", "--root", "failing", *DIVERGING.split(), check=False)
    assert "bss: uniform seed 0: the training loss is" in output
    assert "Lower train.optimiser.learning_rate" in output
    assert output.rstrip().splitlines()[-1].startswith("bss: ")
    client = mlflow.MlflowClient(f"sqlite:///{clone}/failing/mlflow.db")
    (experiment,) = [e for e in client.search_experiments() if e.name == "digits"]
    assert {r.info.status for r in client.search_runs([experiment.experiment_id])} == {"FAILED"}


@in_containers
def test_containers_give_what_dvc_gives(clone):
    run(clone, "bss", "run-local", "--root", "containers", "--image", IMAGE)
    folder = pipeline_run(clone / "containers")
    by_dvc = results((clone / "outputs" / "runs").glob("*/seed=*"))
    assert results(folder.glob("for-loop-*/train/model/*/seed=*")) == by_dvc
    assert compared(folder / "compare" / "report") == compared(clone / "outputs" / "report")
    provenance = json.loads((folder / "prepare" / "store" / "provenance.json").read_text())
    assert IMAGE.rpartition(":")[2][:12] == provenance["code"]["commit"][:12]


@in_containers
def test_a_container_that_fails_fails_the_run(clone):
    output = run(
        clone, "bss", "run-local", "--root", "failing-containers", "--image", IMAGE, *DIVERGING.split(), check=False
    )
    assert "bss: uniform seed 0: the training loss is" in output
    assert output.rstrip().splitlines()[-1].startswith("bss: ")


def test_the_parameters_of_the_run_are_those_of_the_file(clone):
    tree = YAML(typ="safe").load(clone / "params.yaml")
    folder = pipeline_run(clone / "kubeflow")
    provenance = json.loads((folder / "compare" / "report" / "provenance.json").read_text())
    assert provenance["parameters"]["seeds"] == tree["seeds"]
