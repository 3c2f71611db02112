"""A stopped step, such as a preempted pod, saves its trial, and the next attempt resumes from there."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from buckets import bucket_fixture, keys
from kfp.local.subprocess_task_handler import replace_python_executable

from bss.kubeflow.groups import group_trials
from bss.kubeflow.trials import list_trials
from bss.stages.schedule import schedule
from bss.stages.train import train
from pipelines.containers import connect
from pipelines.run_local import secret_values

pytestmark = pytest.mark.process

IMAGE = os.environ.get("BSS_TEST_IMAGE")
in_containers = pytest.mark.skipif(IMAGE is None, reason="BSS_TEST_IMAGE names no image: no Docker engine here")

COMPILED = Path(__file__).parents[2] / "pipelines" / "pipeline.yaml"
POD = Path(__file__).with_name("pod.py")
TRIAL = ("uniform", 0)
BUCKET = "stopping"
RESULTS = ("metrics.json", "sequences.parquet", "history.csv", "predictions.parquet", "model.pt")


@pytest.fixture(scope="module")
def container():
    """The container of the step train, as compiled."""
    spec = next(yaml.safe_load_all(COMPILED.read_text()))
    return spec["deploymentSpec"]["executors"]["exec-train"]["container"]


bucket = bucket_fixture(BUCKET)


@pytest.fixture
def step(container, pipeline, tree, make_config, small_store, tmp_path):
    """Return the command of the step that trains `TRIAL` into the folder that is given, and its configuration."""
    tree["train"]["epochs"] = 60
    tree["resources"]["checkpoints"] = {"minutes": None, "steps": 10, "store": f"s3://{BUCKET}/checkpoints"}
    config, scores, plans = make_config(tree), pipeline[0] / "scores", tmp_path / "plans"
    schedule(config, small_store, scores, plans)
    trials = list_trials(config, small_store, plans)
    (number,) = [n for n, trial in enumerate(trials) if (trial["scheduler"], trial["seed"]) == TRIAL]
    group = group_trials(trials, 1, plans)[number]

    def artifact(name, kind, path):
        kind = {"schemaTitle": f"system.{kind}", "schemaVersion": "0.0.1"}
        return {name: {"artifacts": [{"name": name, "type": kind, "uri": str(path), "metadata": {}}]}}

    def command(out):
        out.mkdir()
        inputs = artifact("store", "Dataset", small_store) | artifact("scores", "Dataset", scores)
        inputs |= artifact("plans", "Dataset", plans)
        outputs = artifact("model", "Model", out / "model") | artifact("metrics", "Metrics", out / "metrics")
        values = group | {"mlflow_tracking_uri": "", "image": "none"}
        task = {
            "inputs": {"parameterValues": values, "artifacts": inputs},
            "outputs": {"artifacts": outputs, "outputFile": str(out / "output.json")},
        }
        return [*container["command"], *(arg.replace("{{$}}", json.dumps(task)) for arg in container["args"])]

    def expected():
        train(config, small_store, scores, plans, tmp_path / "runs", trials=[TRIAL])
        return results(tmp_path / "runs" / TRIAL[0] / f"seed={TRIAL[1]}")

    return command, expected


def results(folder):
    """The bytes of the trial in `folder`, which is its own or that of its group."""
    folder = next(folder.glob("*/seed=*"), folder)
    return {name: (folder / name).read_bytes() for name in RESULTS}


def saved(bucket):
    """Steps of the newest checkpoint on the object store; 0 where there is none."""
    return max((int(Path(key).name[:12]) for key in keys(bucket, BUCKET) if key.endswith(".pt")), default=0)


def wait_until_more_is_saved(bucket, before, running):
    for _ in range(1200):
        if saved(bucket) > before:
            return
        assert running()
        time.sleep(0.05)
    raise AssertionError("no checkpoint")


def went_on_after(log):
    return int(re.search(r"resumes after (\d+) steps", log)[1])


def test_sigterm_to_what_kfps_own_runner_starts_saves_and_the_next_try_resumes(step, bucket, tmp_path):
    command, expected = step
    first = replace_python_executable(command(tmp_path / "first"), sys.executable)
    process = subprocess.Popen(first, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    wait_until_more_is_saved(bucket, 0, lambda: process.poll() is None)
    process.terminate()
    log, _ = process.communicate(timeout=60)
    assert process.returncode == 143, log
    assert "bss: stopped" in log
    assert not (tmp_path / "first" / "model").exists()
    steps = saved(bucket)
    second = replace_python_executable(command(tmp_path / "second"), sys.executable)
    log = subprocess.run(second, capture_output=True, text=True, check=True).stdout
    assert went_on_after(log) == steps
    assert results(tmp_path / "second" / "model") == expected()
    assert keys(bucket, BUCKET) == []


@in_containers
def test_a_container_that_is_stopped_saves_below_argo_and_the_launcher_too(step, bucket, tmp_path):
    command, expected = step
    client = connect()

    def start(command):
        places = {str(path): {"bind": str(path), "mode": "rw"} for path in (tmp_path.parents[0], POD)}
        return client.containers.run(
            IMAGE,
            command,
            detach=True,
            volumes=places,
            network_mode="host",
            user=f"{os.getuid()}:{os.getgid()}",
            environment={"HOME": "/tmp", **secret_values()},
        )

    def running(container):
        container.reload()
        return container.status in ("created", "running")

    def ended(container):
        status = container.wait()["StatusCode"]
        log = container.logs().decode()
        container.remove(force=True)
        return status, log

    # The step alone: Python has taken the place of the shell, so it is PID 1.
    alone = start(command(tmp_path / "alone"))
    wait_until_more_is_saved(bucket, 0, lambda: running(alone))
    alone.stop(timeout=60)
    status, log = ended(alone)
    assert status == 143, log
    assert "bss: stopped" in log
    steps = saved(bucket)
    # As on a cluster. It has saved before the launcher ends, so the pod was not killed meanwhile.
    pod = ["python3", str(POD), "emissary", "python3", str(POD), "launcher", *command(tmp_path / "pod")]
    below = start(pod)
    wait_until_more_is_saved(bucket, steps, lambda: running(below))
    below.stop(timeout=60)
    status, log = ended(below)
    assert status == 1, log
    assert went_on_after(log) == steps
    assert "bss: stopped" in log
    assert "launcher: failed to execute component: exit status 143" in log
    steps = saved(bucket)
    status, log = ended(start(command(tmp_path / "last")))
    assert status == 0, log
    assert went_on_after(log) == steps
    assert results(tmp_path / "last" / "model") == expected()
    assert keys(bucket, BUCKET) == []
