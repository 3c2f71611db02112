"""Trainings over two nodes for real: two containers that the Kubeflow Trainer starts on a Docker engine."""

import ipaddress
import os
import subprocess
import sys

import pytest
from buckets import keys, temporary_bucket
from trials import trial_at

from bss.artifacts.history import read_history
from bss.config import config_from_tree, config_to_tree
from bss.data.tables import read_table
from bss.errors import BssError
from bss.files import digest_file, write_json
from bss.launch.nodes import train_on_nodes
from bss.launch.processes import train_on_ranks
from bss.stages.train import train

pytestmark = pytest.mark.process

IMAGE = os.environ.get("BSS_TEST_IMAGE")
in_containers = pytest.mark.skipif(IMAGE is None, reason="BSS_TEST_IMAGE names no image: no Docker engine here")
TRIAL = ("bss-l", 0)
EXACT = ("history.csv", "metrics.json", "model.pt", "sequences.parquet", "measurements.parquet", "predictions.parquet")
LAUNCH = r"""
import os
import sys
from pathlib import Path
from bss.config import load_config
from bss.data.store import Store
from bss.launch.nodes import train_on_nodes
from bss.training.trial_spec import TrialId, describe_trial, read_trial_plan
folder, params, store, plans = map(Path, sys.argv[1:])
config, data, trial = load_config(params), Store.open(store), TrialId("bss-l", 0)
plan = read_trial_plan(config, data, plans, trial)
trial = describe_trial(config, data, plans, trial, folder, plan)
try:  # each line is one write: an interruption inside of print would leave its line without an end
    train_on_nodes(trial, config, store, lambda row: os.write(1, b"row\n"))
except KeyboardInterrupt:
    os.write(1, b"interrupted\n")
"""


def changed(pipeline, **train):
    """The pipeline's parameters with `train` changed, and a place for the nodes' files."""
    tree = config_to_tree(pipeline[1])
    tree["train"].update(train)
    tree["resources"]["staging"] = "s3://nodes/test"
    return config_from_tree(tree, "params.yaml")


def of_jobs(client):
    """The containers and networks of TrainJobs."""
    label = {"label": "trainer.kubeflow.org/trainjob-name"}
    containers, networks = client.containers.list(all=True, filters=label), client.networks.list(filters=label)
    return {thing.name for thing in (*containers, *networks)}


@pytest.fixture
def engine(tmp_path, monkeypatch):
    """A client of the Docker engine; the job's work folders lie in a home of their own."""
    import docker

    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("BSS_IMAGE", IMAGE)
    client = docker.from_env()
    before = of_jobs(client)
    yield client
    assert of_jobs(client) == before
    assert not list((tmp_path / "home").glob(".kubeflow/trainer/containers/*"))
    client.close()


@pytest.fixture
def bucket(engine, tmp_path, monkeypatch):
    """A boto3 client of an object store, with the bucket `nodes`, that this process and containers reach."""
    import logging

    from moto.server import ThreadedMotoServer

    (subnet,) = [entry["Subnet"] for entry in engine.networks.get("bridge").attrs["IPAM"]["Config"]]
    host = str(ipaddress.ip_network(subnet)[1])  # this machine, as the engine's networks see it
    server = ThreadedMotoServer(ip_address=host, port=0, verbose=False)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server.start()
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "the-secret")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://{}:{}".format(*server.get_host_and_port()))
    with temporary_bucket("nodes") as client:
        yield client
    server.stop()


def sequences(folder):
    return read_table(folder / "sequences.parquet", "train", ("epoch", "digest", "sequence")).to_pydict()


@in_containers
def test_two_nodes_train_as_two_processes_do_and_leave_only_the_result(bucket, pipeline, small_store, tmp_path, capsys):
    folder = pipeline[0]
    rows, at_the_end = [], tmp_path / "one-machine" / "trial"
    runs = tmp_path / "runs"
    trial = runs / "bss-l" / "seed=0"

    def on_epoch(row):
        rows.append((row, trial.exists()))

    for path, config, receive in (
        (at_the_end, changed(pipeline, processes=2), lambda row: None),
        (trial, changed(pipeline, nodes=2), on_epoch),
    ):
        train_on_ranks(trial_at(path, config, small_store, folder / "plans", *TRIAL), config, small_store, receive)
    for name in EXACT:
        assert digest_file(trial / name) == digest_file(at_the_end / name), name
    alone = folder / "runs" / "bss-l" / "seed=0"
    assert sequences(trial) == sequences(alone)
    digests = [[row["schedule/digest"] for row in read_history(place / "history.csv")] for place in (trial, alone)]
    assert digests[0] == digests[1]
    assert [row["epoch"] for row, _ in rows] == [0, 1, 2]
    assert not rows[0][1]  # the row arrived while the trial ran
    assert {path.name for path in trial.iterdir()} == {path.name for path in alone.iterdir()}
    assert {path.name for path in trial.parent.iterdir()} == {"seed=0"}
    assert keys(bucket, "nodes")
    assert all(key.startswith("test/stores/") for key in keys(bucket, "nodes"))
    # The stage keeps what is whole, and the store is on the object store already.
    train(changed(pipeline, nodes=2), small_store, folder / "scores", folder / "plans", runs, [TRIAL])
    assert "1 trials, 1 kept, 1 concurrent with 2 processes each on 2 nodes" in capsys.readouterr().out


@in_containers
def test_two_nodes_with_two_processes_each_are_four_ranks(bucket, pipeline, small_store, tmp_path):
    folder, trial = pipeline[0], tmp_path / "trial"
    config = changed(pipeline, nodes=2, processes=2)
    described = trial_at(trial, config, small_store, folder / "plans", *TRIAL)
    train_on_nodes(described, config, small_store, lambda row: None)
    assert sequences(trial) == sequences(folder / "runs" / "bss-l" / "seed=0")


@in_containers
def test_a_node_that_fails_is_reported_with_its_own_words(bucket, pipeline, small_store, tmp_path):
    tree = config_to_tree(changed(pipeline, nodes=2))
    tree["train"]["optimiser"]["learning_rate"] = 1e18
    config = config_from_tree(tree, "params.yaml")
    with pytest.raises(
        BssError, match=r"^uniform seed 1: node-\d: the training loss is .* Lower train\.optimiser\.learning_rate"
    ):
        train(config, small_store, pipeline[0] / "scores", pipeline[0] / "plans", tmp_path / "runs", [("uniform", 1)])
    assert not list((tmp_path / "runs" / "uniform").iterdir())
    assert all(key.startswith("test/stores/") for key in keys(bucket, "nodes"))


@in_containers
@pytest.mark.parametrize("victim", ["process", "container"])
def test_a_node_that_is_killed_is_named(victim, bucket, engine, pipeline, small_store, tmp_path):
    def on_epoch(row):
        if row["epoch"] == 0:
            (node,) = engine.containers.list(filters={"label": "trainer.kubeflow.org/step=node-1"})
            if victim == "container":
                node.kill()
            else:
                kill = "import os, signal; [os.kill(int(p), signal.SIGKILL) for p in os.listdir('/proc') if p.isdigit()"
                kill += " and b'LOCAL_RANK=' in open(f'/proc/{p}/environ', 'rb').read()]"
                assert node.exec_run(["/opt/bss/bin/python", "-c", kill]).exit_code == 0

    config = changed(pipeline, nodes=2, epochs=100_000)
    expected = {"process": "node-1: one of its processes was ended by SIGKILL", "container": "node-1 ended without"}
    trial = trial_at(tmp_path / "trial", config, small_store, pipeline[0] / "plans", *TRIAL)
    with pytest.raises(BssError, match=expected[victim]):
        train_on_nodes(trial, config, small_store, on_epoch)
    assert list(tmp_path.glob("*trial*")) == []


@in_containers
def test_an_interruption_deletes_the_job(bucket, pipeline, small_store, tmp_path):
    write_json(tmp_path / "params.yaml", config_to_tree(changed(pipeline, nodes=2, epochs=100_000)))
    arguments = [tmp_path / "trial", tmp_path / "params.yaml", small_store, pipeline[0] / "plans"]
    launcher = subprocess.Popen([sys.executable, "-c", LAUNCH, *map(str, arguments)], stdout=subprocess.PIPE, text=True)
    lines = iter(launcher.stdout.readline, "")
    assert any(line == "row\n" for line in lines)
    launcher.terminate()
    assert "interrupted\n" in list(lines)
    assert launcher.wait(60) == 0
    assert list(tmp_path.glob("*trial*")) == []
    assert all(key.startswith("test/stores/") for key in keys(bucket, "nodes"))


@in_containers
def test_what_a_killed_launcher_left_is_replaced(bucket, engine, pipeline, small_store, tmp_path):
    config = changed(pipeline, nodes=2, epochs=100_000)
    write_json(tmp_path / "params.yaml", config_to_tree(config))
    arguments = [tmp_path / "trial", tmp_path / "params.yaml", small_store, pipeline[0] / "plans"]
    launcher = subprocess.Popen([sys.executable, "-c", LAUNCH, *map(str, arguments)], stdout=subprocess.PIPE, text=True)
    assert any(line == "row\n" for line in iter(launcher.stdout.readline, ""))
    launcher.kill()
    launcher.wait()
    left = {node.id for node in engine.containers.list(filters={"label": "trainer.kubeflow.org/trainjob-name"})}
    assert len(left) == 2

    def on_epoch(row):
        now = engine.containers.list(filters={"label": "trainer.kubeflow.org/trainjob-name"})
        assert not left & {node.id for node in now}
        raise KeyboardInterrupt

    trial = trial_at(tmp_path / "trial", config, small_store, pipeline[0] / "plans", *TRIAL)
    with pytest.raises(KeyboardInterrupt):
        train_on_nodes(trial, config, small_store, on_epoch)


@in_containers
def test_an_image_that_is_not_there_is_named(bucket, pipeline, small_store, tmp_path, monkeypatch):
    monkeypatch.setenv("BSS_IMAGE", "bss:0000000")
    config = changed(pipeline, nodes=2)
    trial = trial_at(tmp_path / "trial", config, small_store, pipeline[0] / "plans", *TRIAL)
    with pytest.raises(BssError, match="BSS_IMAGE: bss:0000000: this machine has no such image"):
        train_on_nodes(trial, config, small_store, lambda row: None)
