"""Trainings over several processes as torchrun starts them, and how they end."""

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import small_tree
from trials import trial_at

from bss.artifacts.history import read_history
from bss.config import config_from_tree, config_to_tree
from bss.errors import BssError
from bss.files import digest_file, digest_folder, read_json, write_json
from bss.launch.kubeflow_job import STOPPING
from bss.launch.processes import await_killed_ranks, train_on_this_machine
from bss.launch.rank_main import main
from bss.signals import STOP_SIGNAL
from bss.stages.train import train

TRIAL = ("bss-l", 0)
EXACT = ("history.csv", "metrics.json", "model.pt", "sequences.parquet", "measurements.parquet", "predictions.parquet")
LAUNCH = """
import sys
from pathlib import Path
from bss.config import load_config
from bss.data.store import Store
from bss.launch.processes import train_on_this_machine
from bss.training.trial_spec import TrialId, describe_trial, read_trial_plan
runs, params, store, plans = map(Path, sys.argv[1:])
config, data, trial = load_config(params), Store.open(store), TrialId("bss-l", 0)
plan = read_trial_plan(config, data, plans, trial)
trial = describe_trial(config, data, plans, trial, runs / "trial", plan)
train_on_this_machine(trial, config, store, lambda row: print(row, flush=True))
"""


def changed(pipeline, **train):
    """The pipeline's parameters with criteria that each need a code path of their own, and `train` changed."""
    tree = config_to_tree(pipeline[1])
    del tree["schedule"]["schedulers"]["bss-l-online"]  # gradients are not measured online
    tree["measure"]["score"]["criteria"] = ["feature_similarity", "gradient_magnitude"]
    tree["train"].update(train)
    tree["resources"]["staging"] = "s3://nodes/test"
    return config_from_tree(tree, "params.yaml")


def ranks_of(place):
    """Return {rank: process id} of the running ranks whose command names `place`."""
    found = {}
    for process in Path("/proc").iterdir():
        try:
            command = (process / "cmdline").read_bytes().decode()
            environment = (process / "environ").read_bytes().decode()
        except (OSError, UnicodeDecodeError):
            continue
        if str(place) in command and "bss.launch.rank_main" in command:
            variables = dict(line.split("=", 1) for line in environment.split("\0") if "=" in line)
            found[variables.get("RANK", "torchrun")] = int(process.name)
    return found


def nothing_is_left(folder, but=()):
    return not ranks_of(folder) and {path.name for path in folder.iterdir()} <= set(but)


def wait_for(look):
    for _ in range(600):
        if look():
            return True
        time.sleep(0.1)
    return False


@pytest.fixture(scope="module")
def trained(pipeline, small_store, tmp_path_factory):
    """A trial that the stage trained with two processes."""
    runs = tmp_path_factory.mktemp("two") / "runs"
    folder = pipeline[0]
    train(changed(pipeline, processes=2), small_store, folder / "scores", folder / "plans", runs, [TRIAL])
    return runs


@pytest.mark.process
def test_the_stage_trains_with_two_processes_and_leaves_only_the_result(trained, pipeline):
    assert nothing_is_left(trained, but=["bss-l"])
    assert [path.name for path in (trained / "bss-l").iterdir()] == ["seed=0"]
    trial = trained / "bss-l" / "seed=0"
    assert [row["epoch"] for row in read_history(trial / "history.csv")] == [0, 1, 2]
    one = pipeline[0] / "runs" / "bss-l" / "seed=0"
    assert {path.name for path in trial.iterdir()} == {path.name for path in one.iterdir()}
    provenance = read_json(trial / "provenance.json", "train")
    assert provenance["ranks"] == [{"from_step": 0, "ranks": 2}]
    assert not {"processes", "nodes"} & set(provenance["parameters"]["train"])


@pytest.mark.process
def test_a_finished_training_is_kept_whatever_the_number_of_processes_and_nodes(trained, pipeline, small_store, capsys):
    folder = pipeline[0]
    arguments = (small_store, folder / "scores", folder / "plans", trained, [TRIAL])
    before = digest_folder(trained / "bss-l")
    for change, more in (({"processes": 2}, " with 2 processes each"), ({"processes": 1}, ""), ({"nodes": 2}, "")):
        train(changed(pipeline, **change), *arguments)
        assert f"1 trials, 1 kept, 1 concurrent{more}" in capsys.readouterr().out
    assert digest_folder(trained / "bss-l") == before
    with pytest.raises(BssError, match="BSS_IMAGE: not set"):
        train(changed(pipeline, nodes=2), *arguments[:-1], [("uniform", 0)])


def on_two_machines(config, pipeline, small_store, tmp_path, scheduler, *options):
    """Start a rank on each of two machines; return both, the trial's folder, and the file with its epochs."""
    write_json(tmp_path / "params.yaml", config_to_tree(config))
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    out, progress = tmp_path / "runs" / "trial", tmp_path / "progress"
    command = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1", *options]
    command += ["--master-addr", "127.0.0.1", "--master-port", str(port)]
    module = ["-m", "bss.launch.rank_main", "--params", tmp_path / "params.yaml", "--store", small_store]
    module += ["--plans", pipeline[0] / "plans", "--scheduler", scheduler, "--seed", "0", "--out", out]
    machines = [
        subprocess.Popen(
            [*command, "--node-rank", str(i), *map(str, module), "--progress", str(progress)], stdin=subprocess.DEVNULL
        )
        for i in range(2)
    ]
    return machines, out, progress


@pytest.mark.process
def test_two_machines_with_a_rank_each_give_the_bytes_of_one_with_two(trained, pipeline, small_store, tmp_path):
    config, logs = changed(pipeline, nodes=2), str(tmp_path / "logs")
    machines, out, progress = on_two_machines(config, pipeline, small_store, tmp_path, "bss-l", "--log-dir", logs)
    assert [machine.wait(120) for machine in machines] == [0, 0]
    for name in EXACT:
        assert digest_file(out / name) == digest_file(trained / "bss-l" / "seed=0" / name), name
    rows = [json.loads(line) for line in progress.read_text(encoding="utf-8").splitlines()]
    recorded = read_history(out / "history.csv")
    assert [(row["epoch"], row["train/loss"]) for row in rows] == [(r["epoch"], r["train/loss"]) for r in recorded]


@pytest.mark.process
def test_a_training_that_diverges_is_named_and_leaves_nothing(pipeline, small_store, tmp_path):
    tree = config_to_tree(changed(pipeline, processes=2))
    tree["train"]["optimiser"]["learning_rate"] = 1e18
    config, folder = config_from_tree(tree, "params.yaml"), pipeline[0]
    with pytest.raises(
        BssError, match=r"^uniform seed 1: the training loss is .* Lower train\.optimiser\.learning_rate"
    ):
        train(config, small_store, folder / "scores", folder / "plans", tmp_path, [("uniform", 1)])
    assert nothing_is_left(tmp_path, but=["uniform"])
    assert not list((tmp_path / "uniform").iterdir())


@pytest.mark.process
@pytest.mark.parametrize("killed", [True, False])
def test_a_killed_rank_is_reported_and_an_interruption_ends_all_ranks(killed, pipeline, small_store, tmp_path):
    def on_epoch(row):
        if row["epoch"] > 0:
            return
        assert {"0", "1"} <= set(ranks_of(tmp_path))
        if killed:
            os.kill(ranks_of(tmp_path)["1"], signal.SIGKILL)
            return
        for process in ranks_of(tmp_path).values():  # as Argo does; only this process may take notice
            os.kill(process, STOP_SIGNAL)
        raise KeyboardInterrupt

    config = changed(pipeline, processes=2, epochs=100_000)
    trial = trial_at(tmp_path / "trial", config, small_store, pipeline[0] / "plans", *TRIAL)
    with pytest.raises(BssError if killed else KeyboardInterrupt, match="ended by SIGKILL" if killed else None):
        train_on_this_machine(trial, config, small_store, on_epoch)
    assert wait_for(lambda: nothing_is_left(tmp_path, but=[".trial.checkpoints"]))
    # One that was interrupted has saved where it stands.
    assert killed == (not list(tmp_path.glob(".trial.checkpoints/*.pt")))


@pytest.mark.process
def test_a_machine_that_is_stopped_has_all_ranks_save_together(pipeline, small_store, tmp_path):
    config = changed(pipeline, nodes=2, epochs=100_000)
    handled = ("--signals-to-handle", STOPPING)
    machines, _, progress = on_two_machines(config, pipeline, small_store, tmp_path, "uniform", *handled)
    assert wait_for(lambda: progress.exists() and progress.stat().st_size)  # ranks make it before they train
    machines[1].send_signal(STOP_SIGNAL)  # rank 0, which writes the checkpoint, is on the other one
    assert 0 not in [machine.wait(60) for machine in machines]
    assert list(tmp_path.glob("runs/.trial.checkpoints/*.pt"))


@pytest.mark.process
def test_a_killed_parent_leaves_no_rank_behind(pipeline, small_store, tmp_path):
    runs = tmp_path / "runs"
    write_json(tmp_path / "params.yaml", config_to_tree(changed(pipeline, processes=2, epochs=100_000)))
    arguments = [runs, tmp_path / "params.yaml", small_store, pipeline[0] / "plans"]
    parent = subprocess.Popen([sys.executable, "-c", LAUNCH, *map(str, arguments)], stdout=subprocess.PIPE)
    try:
        assert parent.stdout is not None
        assert b"train/loss" in parent.stdout.readline()
        assert len(ranks_of(runs)) >= 2
    finally:
        parent.kill()
        parent.wait()
    # They have saved their state; whoever resumes waits for that.
    await_killed_ranks(runs / "trial")
    assert wait_for(lambda: nothing_is_left(runs, but=[".trial.checkpoints"]))
    assert list((runs / ".trial.checkpoints").glob("*.pt"))


def test_ranks_that_do_not_end_are_reported(tmp_path, monkeypatch):
    monkeypatch.setattr("bss.launch.processes.STOP_SECONDS", 0.2)
    (tmp_path / ".trial.scratch").mkdir()
    with (tmp_path / ".trial.scratch" / "progress").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        with pytest.raises(BssError, match="orphaned processes of a killed trial still work on it"):
            await_killed_ranks(tmp_path / "trial")
    await_killed_ranks(tmp_path / "trial")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("environment", "arguments", "message"),
    [
        ({}, {}, "RANK: missing from the environment. Start `-m bss.launch.rank_main` with torchrun."),
        ({"WORLD_SIZE": "3"}, {}, "train.nodes x train.processes is 1 x 2, but torchrun started 3 processes"),
        ({"WORLD_SIZE": "2"}, {"--scheduler": "bss-x"}, "--scheduler bss-x: "),
    ],
)
def test_a_rank_that_is_started_wrongly_says_so(
    environment, arguments, message, small_root, tmp_path, monkeypatch, capsys
):
    tree = small_tree(small_root)
    tree["train"]["processes"] = 2
    write_json(tmp_path / "params.yaml", tree)
    if environment:
        for name, value in ({"RANK": "0", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "2"} | environment).items():
            monkeypatch.setenv(name, value)
    options = {"--params": "params.yaml", "--store": "s", "--plans": "p", "--out": "o", "--scheduler": "bss-l"}
    options |= {"--seed": "0"} | arguments
    monkeypatch.chdir(tmp_path)
    assert main([part for option in options.items() for part in option]) == 1
    assert f"bss: {message}" in capsys.readouterr().err.replace("params.yaml: ", "")
    assert not (tmp_path / "o").exists()


@pytest.mark.process
def test_the_name_before_runs_the_same():
    command = [sys.executable, "-m", "bss.training.rank", "--help"]
    assert "usage: bss.launch.rank_main " in subprocess.run(command, capture_output=True, text=True, check=True).stdout
