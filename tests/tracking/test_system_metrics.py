"""What the machine does during a trial, as MLflow shows it."""

import threading

import mlflow
import psutil
import pytest
from conftest import small_tree

from bss.config import config_from_tree
from bss.data.store import Store
from bss.errors import BssError
from bss.stages.train import train
from bss.tracking import system_metrics
from bss.tracking.execution import Execution
from bss.tracking.journal import Journal
from bss.tracking.sender import require_sent
from bss.tracking.system_metrics import require_monitors, sampling
from bss.tracking.trial_run import TrialRun

USE = {
    "system/cpu_utilization_percentage",
    "system/system_memory_usage_megabytes",
    "system/system_memory_usage_percentage",
    "system/disk_usage_percentage",
    "system/network_receive_megabytes",
}


@pytest.mark.slow
@pytest.mark.parametrize("asked", [True, False])
def test_a_training_has_the_use_of_the_machine_if_asked(
    asked, database, pipeline, small_root, small_store, tmp_path, monkeypatch
):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", database)
    tree = small_tree(small_root) | {"tracking": {"models": "none", "system_metrics": asked}}
    folder, config = pipeline[0], config_from_tree(tree, "params.yaml")
    train(config, small_store, folder / "scores", folder / "plans", tmp_path / "runs", [("uniform", 0)])
    client = mlflow.MlflowClient(database)
    experiment = client.get_experiment_by_name(Store.open(small_store).name).experiment_id
    (run,) = client.search_runs([experiment], "tags.scheduler = 'uniform'")
    found = {name: value for name, value in run.data.metrics.items() if name.startswith("system/")}
    if not asked:
        assert found == {}
        return
    assert found.keys() >= USE
    assert 0 <= found["system/cpu_utilization_percentage"] <= 100
    total = psutil.virtual_memory().total / 1e6
    used = found["system/system_memory_usage_megabytes"]
    assert found["system/system_memory_usage_percentage"] == pytest.approx(100 * used / total, abs=0.1)
    metrics = (tmp_path / "runs" / "uniform" / "seed=0" / "metrics.json").read_bytes()
    assert metrics == (folder / "runs" / "uniform" / "seed=0" / "metrics.json").read_bytes()


def test_samples_are_taken_again_and_again_and_once_at_least():
    taken, enough = [], threading.Event()

    def log(values):
        taken.append(values)
        if len(taken) == 3:
            enough.set()

    with sampling(log, seconds=0.01):
        assert enough.wait(120)
    count = len(taken)
    assert all(values.keys() == taken[0].keys() >= USE for values in taken)
    short = []
    with sampling(short.append, seconds=1e6):
        pass
    assert len(short) == 1
    assert len(taken) == count


def test_the_training_is_not_disturbed_by_a_sample_that_cannot_be_written():
    def log(values):
        raise BssError("the disk is full")

    with sampling(log, seconds=0.01):
        pass


def test_a_training_that_resumes_continues_the_samples_and_repeats_no_epoch(database, tmp_path):
    execution = Execution(database, "pets", "0" * 32, "pipeline")
    run = TrialRun.start(tmp_path / "spool", execution, "uniform seed=0", {}, {})
    run.log_epoch({"epoch": 0, "train/loss": 1.0})
    for _ in range(5):
        run.log_system({"system/cpu_utilization_percentage": 10.0})
    run.fail("KILLED")
    resumed = TrialRun.resume(tmp_path / "spool", execution, run.journal.folder.name)
    assert resumed.logged_epochs == 1
    resumed.log_epoch({"epoch": 0, "train/loss": 7.0})
    resumed.log_epoch({"epoch": 1, "train/loss": 0.5})
    resumed.log_system({"system/cpu_utilization_percentage": 20.0})
    resumed.journal.append("end", status="FINISHED")
    require_sent(tmp_path / "spool", database)
    client = mlflow.MlflowClient(database)
    (found,) = client.search_runs([client.get_experiment_by_name("pets").experiment_id])
    history = client.get_metric_history(found.info.run_id, "system/cpu_utilization_percentage")
    assert sorted((m.step, m.value) for m in history) == [*((step, 10.0) for step in range(5)), (5, 20.0)]
    losses = client.get_metric_history(found.info.run_id, "train/loss")
    assert sorted((m.step, m.value) for m in losses) == [(0, 1.0), (1, 0.5)]


def test_threads_share_a_journal_without_losing_a_line(tmp_path):
    journal = Journal.create(tmp_path)

    def write(name):
        for number in range(100):
            journal.append("metrics", name=name, number=number)

    threads = [threading.Thread(target=write, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = [record for record, _ in journal.read()]
    for name in "ab":
        assert [line["number"] for line in lines if line["name"] == name] == list(range(100))


@pytest.mark.parametrize("missing", ["psutil", "pynvml"])
def test_a_library_that_is_missing_is_named(missing, monkeypatch):
    monkeypatch.setattr(system_metrics, "find_spec", lambda name: None if name in (missing, "pyrsmi") else object())
    said = []
    if missing == "psutil":
        with pytest.raises(BssError, match=r"psutil is not installed. Run `pip install psutil`, or set it to false"):
            require_monitors(False, said.append)
    else:
        require_monitors(False, said.append)
        assert said == []
        require_monitors(True, said.append)
        assert "pip install nvidia-ml-py" in said[0]


def test_several_nodes_are_refused_because_the_process_that_logs_does_not_train(tree, make_config):
    tree["train"]["nodes"], tree["resources"]["staging"] = 2, "s3://bucket/staging"
    with pytest.raises(BssError, match=r"tracking\.system_metrics` must be false"):
        make_config(tree | {"tracking": {"system_metrics": True}})
