"""A trial that was stopped and started again ends as one that never stopped, bit for bit."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import mlflow
import pytest
from conftest import small_tree
from killed import Killed, killed_after_saving
from trials import train_at

from bss.config import config_from_tree
from bss.config.resources import CheckpointsConfig
from bss.data.store import Store
from bss.files import read_json
from bss.launch.processes import await_killed_ranks
from bss.signals import STOP_SIGNAL
from bss.stages.train import train
from bss.training import trial
from bss.training.resume.checkpoints import Checkpoints, checkpoints_folder

SAME = ("metrics.json", "history.csv", "sequences.parquet", "predictions.parquet", "model.pt", "provenance.json")
SCHEDULERS = ("uniform", "bss-h", "bss-l", "bss-l-online", "official-l")
STEPS = 9
"""Each of the small trials has 3 epochs of 3 steps, the curriculum fewer."""


def content(folder):
    found = {name: (folder / name).read_bytes() for name in SAME}
    if (folder / "measurements.parquet").exists():
        found["measurements.parquet"] = (folder / "measurements.parquet").read_bytes()
    return found


@pytest.fixture
def setting(pipeline, small_root, small_store, make_config):
    """A configuration that saves after every step, the store and the plans."""
    tree = small_tree(small_root)
    tree["resources"]["checkpoints"] = {"minutes": None, "steps": 1}
    return make_config(tree), Store.open(small_store), pipeline[0] / "plans"


@pytest.fixture
def expected(pipeline):
    """What the trials that never stopped left behind."""
    return lambda name: content(pipeline[0] / "runs" / name / "seed=0")


def run_until(setting, path, name, steps):
    """Train into `path` and end right after the checkpoint of `steps` steps."""
    config, store, plans = setting
    with killed_after_saving(lambda done: done >= steps):
        rows = []
        try:
            train_at(path, config, store, plans, name, 0, rows.append)
        except Killed:
            return False
    return True


def finish(setting, path, name):
    config, store, plans = setting
    rows = []
    train_at(path, config, store, plans, name, 0, rows.append)
    assert [row["epoch"] for row in rows] == [0, 1, 2]
    assert not checkpoints_folder(path).exists()
    return content(path)


@pytest.mark.slow
@pytest.mark.parametrize("name", SCHEDULERS)
def test_stopped_after_any_step(name, setting, expected, tmp_path):
    for steps in range(1, STEPS + 1):
        path = tmp_path / f"{steps}" / "seed=0"
        if run_until(setting, path, name, steps):
            break
        assert not path.exists()
        assert finish(setting, path, name) == expected(name)
    assert steps >= 4


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bss-h", "bss-l-online"])
def test_stopped_after_every_step(name, setting, expected, tmp_path):
    path = tmp_path / "seed=0"
    stops = 0
    while not run_until(setting, path, name, 0):
        stops += 1
        assert stops <= STEPS
    assert stops >= 4
    assert content(path) == expected(name)


@pytest.mark.slow
def test_with_a_damaged_checkpoint_the_one_before_it_is_used(setting, expected, tmp_path, capsys):
    path = tmp_path / "seed=0"
    run_until(setting, path, "bss-l-online", 5)
    newest = sorted(checkpoints_folder(path).glob("*.pt"))[-1]
    newest.write_bytes(newest.read_bytes()[:1000])
    assert finish(setting, path, "bss-l-online") == expected("bss-l-online")
    assert "damaged" in capsys.readouterr().out.replace("\n", " ")


@pytest.mark.slow
def test_checkpoints_of_other_parameters_are_not_used(setting, expected, small_root, tmp_path):
    path = tmp_path / "seed=0"
    tree = small_tree(small_root)
    tree["train"]["optimiser"]["learning_rate"] = 0.01
    tree["resources"]["checkpoints"] = {"minutes": None, "steps": 1}
    run_until((config_from_tree(tree, "params.yaml"), *setting[1:]), path, "uniform", 5)
    assert finish(setting, path, "uniform") == expected("uniform")


@pytest.mark.slow
def test_checkpoints_of_earlier_code_are_reported_and_not_used(setting, expected, tmp_path, monkeypatch, capsys):
    path = tmp_path / "seed=0"
    save = Checkpoints.save

    def save_as_before(self, state, steps):
        del state["records"]["ranks"]
        save(self, state, steps)

    with monkeypatch.context() as patch:
        patch.setattr("bss.training.trial_spec.code_digest", lambda stage, used: "earlier")
        patch.setattr(Checkpoints, "save", save_as_before)
        run_until(setting, path, "uniform", 5)
    assert finish(setting, path, "uniform") == expected("uniform")
    assert "made with other data, parameters or code; training starts from scratch" in capsys.readouterr().out


PROGRAM = """
import sys
from pathlib import Path
from bss.config import load_config
from bss.stages.train import train
from bss.signals import stop_signal_as_sigterm
if __name__ == "__main__":
    stop_signal_as_sigterm()
    store, outputs, runs = map(Path, sys.argv[2:])
    config = load_config(Path(sys.argv[1]))
    train(config, store, outputs / "scores", outputs / "plans", runs)
"""


@pytest.fixture
def start(tmp_path, small_root, small_store, pipeline):
    """Start the stage train in a process of its own, with checkpoints after every second step."""
    tree = small_tree(small_root)
    tree["resources"] |= {"checkpoints": {"minutes": None, "steps": 2}}
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)

    def start(jobs=1, processes=1, **changes):
        tree["resources"]["jobs"] = jobs
        tree["train"]["processes"] = processes
        params = tmp_path / "params.json"
        params.write_text(json.dumps(tree | changes))
        command = [sys.executable, program, params, small_store, pipeline[0], tmp_path / "runs"]
        output = (tmp_path / "output").open("ab")
        return subprocess.Popen(command, stdout=output, stderr=output, cwd=tmp_path, start_new_session=True)

    return start


def wait_for(condition, process):
    for _ in range(6000):
        if process.poll() is not None or condition():
            return
        time.sleep(0.01)
    raise AssertionError("nothing happened")


@pytest.mark.process
def test_killed_at_random_moments(start, pipeline, tmp_path):
    moments = random.Random(0)
    kills = 0
    for _ in range(6):
        process = start(jobs=2)
        wait_for(lambda: list((tmp_path / "runs").glob("*/.seed=*/*.pt")), process)
        time.sleep(moments.uniform(0, 0.6))
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            kills += 1
        process.wait()
    assert start(jobs=2).wait() == 0, (tmp_path / "output").read_text()
    assert kills >= 3
    folder, config = pipeline
    for name in config.schedule.schedulers:
        for seed in config.seeds:
            place = f"{name}/seed={seed}"
            assert content(tmp_path / "runs" / place) == content(folder / "runs" / place)
    assert not list((tmp_path / "runs").glob("*/.seed=*"))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bss-h", "bss-l-online"])
def test_stopped_while_every_epoch_is_evaluated(name, setting, expected, tmp_path, monkeypatch):
    config, store, plans = setting
    config = replace(config, resources=replace(config.resources, checkpoints=CheckpointsConfig(minutes=None)))
    train_epoch, evaluate, trained, stops = trial.train_epoch, trial.evaluate_and_read, [], iter([True, False] * 3)

    def count_steps(network, optimiser, data, batches, observe, wrapped, ranks, done, *rest, **named):
        trained.append(len(batches) - done[0])
        return train_epoch(network, optimiser, data, batches, observe, wrapped, ranks, done, *rest, **named)

    def evaluate_unless_stopped(*arguments):
        if next(stops, False):
            raise KeyboardInterrupt
        return evaluate(*arguments)

    monkeypatch.setattr(trial, "train_epoch", count_steps)
    monkeypatch.setattr(trial, "evaluate_and_read", evaluate_unless_stopped)
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            train_at(tmp_path / "seed=0", config, store, plans, name, 0, lambda row: None)
    assert finish((config, store, plans), tmp_path / "seed=0", name) == expected(name)
    assert len(trained) == 6
    assert trained[1::2] == [0, 0, 0]


@pytest.mark.process
@pytest.mark.parametrize(("jobs", "number"), [(1, signal.SIGTERM), (2, STOP_SIGNAL)])
def test_sigterm_saves_and_ends(jobs, number, start, pipeline, tmp_path):
    process = start(jobs=jobs)
    wait_for(lambda: list((tmp_path / "runs").glob("*/.seed=*/*.pt")), process)
    if number == STOP_SIGNAL:
        os.killpg(process.pid, number)  # Argo sends it to all processes
    else:
        process.send_signal(number)
    assert process.wait(timeout=30) != 0
    assert list((tmp_path / "runs").glob("*/.seed=*/*.pt")) or list((tmp_path / "runs").glob("*/seed=*"))
    assert start(jobs=jobs).wait() == 0, (tmp_path / "output").read_text()
    assert content(tmp_path / "runs/bss-l-online/seed=1") == content(pipeline[0] / "runs/bss-l-online/seed=1")


@pytest.mark.process
def test_two_ranks_are_followed_by_two_or_by_one(start, pipeline, tmp_path):
    schedule = {"schedulers": {"bss-l-online": {"kind": "learned", "measuring": "online", "every": 2}}}
    changes = {"schedule": schedule, "seeds": [0], "compare": {"baseline": "bss-l-online", "resamples": 1000}}
    assert start(processes=2, **changes).wait() == 0, (tmp_path / "output").read_text()
    never_stopped = content(tmp_path / "runs/bss-l-online/seed=0")
    shutil.rmtree(tmp_path / "runs")
    process = start(processes=2, **changes)
    wait_for(lambda: list((tmp_path / "runs").glob("*/.seed=*/*.pt")), process)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    await_killed_ranks(tmp_path / "runs/bss-l-online/seed=0")
    shutil.copytree(tmp_path / "runs", tmp_path / "killed")
    assert start(processes=2, **changes).wait() == 0, (tmp_path / "output").read_text()
    assert content(tmp_path / "runs/bss-l-online/seed=0") == never_stopped
    shutil.rmtree(tmp_path / "runs")
    (tmp_path / "killed").rename(tmp_path / "runs")
    assert start(processes=1, **changes).wait() == 0, (tmp_path / "output").read_text()
    folder = tmp_path / "runs/bss-l-online/seed=0"
    alone = pipeline[0] / "runs/bss-l-online/seed=0"
    assert (folder / "sequences.parquet").read_bytes() == (alone / "sequences.parquet").read_bytes()
    assert [stretch["ranks"] for stretch in read_json(folder / "provenance.json", "train")["ranks"]] == [2, 1]
    assert not list((tmp_path / "runs").glob("*/.seed=*"))


@pytest.mark.slow
def test_a_resumed_training_continues_its_mlflow_run(
    database, small_root, small_store, pipeline, tmp_path, monkeypatch
):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", database)
    tree = small_tree(small_root) | {"tracking": {"models": "none"}}
    tree["resources"]["checkpoints"] = {"minutes": None, "steps": 1}
    config = config_from_tree(tree, "params.yaml")
    paths = (small_store, pipeline[0] / "scores", pipeline[0] / "plans", tmp_path / "runs")
    save = Checkpoints.save

    def save_and_end(self, state, done):
        save(self, state, done)
        if done >= 5:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "save", save_and_end)
        with pytest.raises(KeyboardInterrupt):
            train(config, *paths, trials=[("uniform", 0)])
    train(config, *paths, trials=[("uniform", 0)])
    client = mlflow.MlflowClient(database)
    (experiment,) = [e for e in client.search_experiments() if e.name == Store.open(small_store).name]
    runs = client.search_runs([experiment.experiment_id])
    (child,) = [run for run in runs if "mlflow.parentRunId" in run.data.tags]
    parents = {run.info.run_id: run.info.status for run in runs if run is not child}
    assert sorted(parents.values()) == ["FINISHED", "KILLED"]
    assert parents[child.data.tags["mlflow.parentRunId"]] == "FINISHED"
    assert child.info.status == "FINISHED"
    steps = [metric.step for metric in client.get_metric_history(child.info.run_id, "val/acc")]
    assert sorted(steps) == [0, 1, 2]
