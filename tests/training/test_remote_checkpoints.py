"""Checkpoints on an object store: a trial with a fresh disk resumes where the old one ended."""

import json
import os
import shutil
import signal
import subprocess
import sys

import mlflow
import pytest
import torch
from buckets import bucket_fixture, keys
from conftest import small_tree
from proxy import Proxy
from test_resume import PROGRAM, content, wait_for
from trials import train_at

from bss.config import config_from_tree
from bss.config.resources import CheckpointsConfig
from bss.data.store import Store
from bss.errors import BssError
from bss.kubeflow.parameters import config_from_part, trial_part
from bss.remote import object_store
from bss.stages.train import train
from bss.training.resume.checkpoints import Checkpoints, checkpoints_folder

pytestmark = pytest.mark.process

PLACE = "s3://checkpoints/project"


client = bucket_fixture("checkpoints")


def stored(folder, key="key"):
    return Checkpoints(folder, key, CheckpointsConfig(minutes=None, steps=1, keep=2, store=PLACE))


def test_a_fresh_disk_has_the_newest_one(client, tmp_path):
    first = stored(tmp_path / "first")
    for steps in (3, 6, 9):
        first.save({"weights": torch.full((2,), float(steps))}, steps)
        first.wait()
    assert [int(key.split("/")[-1][:12]) for key in keys(client, "checkpoints")] == [6, 9]
    assert stored(tmp_path / "second").latest()["weights"].tolist() == [9.0, 9.0]
    assert stored(tmp_path / "second", "other key").latest() is None
    first.remove()
    assert keys(client, "checkpoints") == []


def test_the_newer_of_disk_and_store_is_taken(client, tmp_path):
    here = stored(tmp_path / "here")
    here.save({"step": 3}, 3)
    here.wait()
    elsewhere = stored(tmp_path / "elsewhere")
    elsewhere.save({"step": 6}, 6)
    elsewhere.wait()
    assert here.latest() == {"step": 6}
    here.store = None
    assert here.latest() == {"step": 3}


def test_a_damaged_one_in_the_store_is_passed_over(client, tmp_path, capsys):
    first = stored(tmp_path / "first")
    for steps in (3, 6):
        first.save({"step": steps}, steps)
        first.wait()
    newest = keys(client, "checkpoints")[-1]
    whole = client.get_object(Bucket="checkpoints", Key=newest)["Body"].read()
    client.put_object(Bucket="checkpoints", Key=newest, Body=whole[:-1])
    assert stored(tmp_path / "second").latest() == {"step": 3}
    assert "damaged" in capsys.readouterr().out


def test_a_store_that_fails_does_not_hold_up_the_training(client, aws, tmp_path, monkeypatch, capsys):
    host, port = aws.removeprefix("http://").split(":")
    monkeypatch.setattr(object_store, "ATTEMPTS", 1)
    with Proxy((host, int(port))) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{proxy.address}")
        checkpoints = stored(tmp_path / "first")
        proxy.stall()
        for steps in range(1, 20):
            checkpoints.save({"step": steps}, steps)
        proxy.refuse()
        checkpoints.wait()
        assert "Training continues" in capsys.readouterr().out
        proxy.work()
        checkpoints.save({"step": 20}, 20)
        checkpoints.wait()
        assert stored(tmp_path / "second").latest() == {"step": 20}
        proxy.refuse()
        with pytest.raises(BssError, match="Check AWS_ENDPOINT_URL"):
            stored(tmp_path / "third").latest()


def test_the_upload_of_a_large_one_survives_cut_connections(client, aws, tmp_path, monkeypatch):
    host, port = aws.removeprefix("http://").split(":")
    with Proxy((host, int(port))) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{proxy.address}")
        checkpoints = stored(tmp_path / "first")
        proxy.cut(1 << 20, sent=True, times=2)
        checkpoints.save({"weights": torch.arange(3 << 20)}, 1)
        checkpoints.wait()
        assert proxy.cuts == 2
        proxy.work()
    monkeypatch.setenv("AWS_ENDPOINT_URL", aws)
    assert torch.equal(stored(tmp_path / "second").latest()["weights"], torch.arange(3 << 20))


class Gone(BaseException):
    """Stands for the end of a pod."""


@pytest.mark.parametrize("name", ["bss-h", "bss-l-online"])
def test_a_training_whose_disk_is_gone_at_every_step_ends_with_the_same_bytes(
    name, client, small_root, small_store, pipeline, tmp_path, monkeypatch
):
    tree = small_tree(small_root)
    tree["resources"]["checkpoints"] = {"minutes": None, "steps": 1, "store": PLACE}
    config, store = config_from_tree(tree, "params.yaml"), Store.open(small_store)
    save = Checkpoints.save

    def save_and_end(self, state, done):
        save(self, state, done)
        self.wait()
        raise Gone

    pods = 0
    for pods in range(12):
        path = tmp_path / f"pod-{pods}" / "seed=0"
        with monkeypatch.context() as patch:
            patch.setattr(Checkpoints, "save", save_and_end)
            try:
                train_at(path, config, store, pipeline[0] / "plans", name, 0, lambda row: None)
                break
            except Gone:
                shutil.rmtree(path.parent)
    assert pods >= 4
    assert content(path) == content(pipeline[0] / "runs" / name / "seed=0")
    assert keys(client, "checkpoints") == []
    assert not checkpoints_folder(path).exists()


def test_a_killed_stage_resumes_in_a_fresh_folder_and_mlflow_has_one_run(
    client, database, small_root, small_store, pipeline, tmp_path, monkeypatch
):
    tree = small_tree(small_root) | {"seeds": [0], "tracking": {"models": "none"}}
    tree["schedule"]["schedulers"] = {"bss-l": {"kind": "learned", "measuring": "full"}}
    tree["compare"] = {"baseline": "bss-l", "resamples": 1000}
    tree["resources"]["checkpoints"] = {"minutes": None, "steps": 2, "store": PLACE}
    monkeypatch.setenv("MLFLOW_TRACKING_URI", database)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
    (tmp_path / "params.json").write_text(json.dumps(tree))
    (tmp_path / "program.py").write_text(PROGRAM)
    pod = tmp_path / "pod"
    pod.mkdir()
    command = [
        sys.executable,
        tmp_path / "program.py",
        tmp_path / "params.json",
        small_store,
        pipeline[0],
        pod / "runs",
    ]
    with (tmp_path / "output").open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, cwd=tmp_path, start_new_session=True)
    wait_for(lambda: any(key.endswith(".pt") for key in keys(client, "checkpoints")), process)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    shutil.rmtree(pod)
    config = config_from_tree(tree, "params.yaml")
    folder = pipeline[0]
    train(config, small_store, folder / "scores", folder / "plans", tmp_path / "new" / "runs")
    assert content(tmp_path / "new/runs/bss-l/seed=0") == content(folder / "runs/bss-l/seed=0")
    found = mlflow.MlflowClient(database)
    runs = found.search_runs([found.get_experiment_by_name(Store.open(small_store).name).experiment_id])
    (child,) = [run for run in runs if "mlflow.parentRunId" in run.data.tags]
    assert sorted(m.step for m in found.get_metric_history(child.info.run_id, "val/acc")) == [0, 1, 2]
    assert keys(client, "checkpoints") == []


def test_a_pod_gets_the_place_and_a_change_of_it_trains_nothing_again(tree, make_config):
    config = make_config(tree)
    assert "checkpoints" not in trial_part(config, "uniform", 0)
    tree["resources"]["checkpoints"] = {"steps": 5, "store": PLACE}
    stored_config = config_from_part(trial_part(make_config(tree), "uniform", 0))
    assert stored_config.resources.checkpoints.store == PLACE
    assert stored_config.resources.checkpoints.steps == 5
