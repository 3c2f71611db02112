"""A small dataset of one's own, parameters that train on it in seconds, and an object store."""

import csv
import ctypes
import os
import shutil
import sys
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, settings
from PIL import Image

from bss.config import config_from_tree

pytest_plugins = ["lanes"]

# Threads of OpenMP that wait for work sleep: spinning, they would take the other worker's core. Read by torch's import.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
# Every `dvc` would start two more processes, one to report its use and one to ask for a newer version.
os.environ["DVC_SYSTEM_CONFIG_DIR"] = str(Path(__file__).with_name("dvc_system"))
# What is compiled once is not compiled again in every process that a test starts.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# On a busy machine a test must not fail because it is slow.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

CLASSES = ("cat", "dog", "owl")
PER_SPLIT = {"train": 16, "val": 6, "test": 6}


def write_manifest(root: Path, rows: list[dict[str, str]]) -> Path:
    path = root / "manifest.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def make_rows(root: Path) -> list[dict[str, str]]:
    """Write a tone, a picture and a vector per sample, each showing its class; return the rows."""
    random = np.random.default_rng(0)
    rows = []
    for split, count in PER_SPLIT.items():
        for number, label in enumerate(CLASSES):
            for i in range(count):
                name = f"{split}-{label}-{i}"
                time = np.arange(800) / 4000
                tone = 0.3 * np.sin(2 * np.pi * (300 + 400 * number) * time) + 0.05 * random.standard_normal(800)
                soundfile.write(root / f"{name}.wav", tone, 4000, subtype="PCM_16")
                picture = random.integers(0, 120, (6, 6))
                picture[2 * number : 2 * number + 2] += 120
                Image.fromarray(picture.astype(np.uint8), mode="L").save(root / f"{name}.png")
                vector = random.standard_normal(5).astype(np.float32)
                vector[number] += 2
                np.save(root / f"{name}.npy", vector)
                files = {"audio": f"{name}.wav", "image": f"{name}.png", "vector": f"{name}.npy"}
                rows.append({"id": name, "label": label, "split": split, "group": f"{split}{i % 3}", **files})
    return rows


@pytest.fixture(scope="session")
def small_data(tmp_path_factory):
    """A data root and the rows of its manifest, to be copied."""
    root = tmp_path_factory.mktemp("pets")
    rows = make_rows(root)
    write_manifest(root, rows)
    return root, rows


@pytest.fixture(scope="session")
def small_root(small_data):
    """A data root with 48 training samples, three modalities and a manifest; do not write into it."""
    return small_data[0]


@pytest.fixture
def own_root(small_data, tmp_path):
    """The same, to write into, with the manifest's rows."""
    root, rows = small_data
    return shutil.copytree(root, tmp_path / "pets"), [dict(row) for row in rows]


def small_tree(root: Path) -> dict:
    """Parameters for the small data as plain values, to be changed by a test."""
    pacing = {"grow_epochs": 2, "start": 0.3}
    return {
        "seeds": [0, 1],
        "prepare": {
            "root": str(root),
            "modalities": {
                "audio": {"kind": "audio", "sample_rate": 4000, "seconds": 0.2},
                "image": {"kind": "image", "height": 6, "width": 6, "channels": 1},
                "vector": {"kind": "features"},
            },
        },
        "network": {
            "encoders": {
                "audio": {
                    "kind": "cnn",
                    "channels": [4],
                    "features": 8,
                    "spectrogram": {"n_fft": 64, "hop": 64, "bands": 8},
                },
                "image": {"kind": "cnn", "channels": [4], "features": 8},
                "vector": {"kind": "mlp", "hidden": [8], "features": 8},
            }
        },
        "measure": {"warmup_epochs": 1},
        "schedule": {
            "schedulers": {
                "uniform": {"kind": "uniform"},
                "control": {"kind": "heuristic", "ranking": "random", "pacing": pacing},
                "bss-h": {"kind": "heuristic", "stratified": True, "pacing": pacing},
                "bss-l": {"kind": "learned", "measuring": "full"},
                "bss-l-online": {"kind": "learned", "measuring": "online", "every": 2},
                "official-l": {"preset": "official-learned"},
            }
        },
        "train": {
            "epochs": 3,
            "batch_size": 16,
            "optimiser": {"kind": "sgd", "learning_rate": 0.05},
            "decay": {"at": [2]},
        },
        "compare": {"control": "control", "resamples": 1000},
        "tracking": {"enabled": False},
        "resources": {"device": "cpu", "jobs": 1},
    }


@pytest.fixture
def tree(small_root):
    return small_tree(small_root)


@pytest.fixture
def make_config():
    return lambda tree: config_from_tree(tree, "params.yaml")


@pytest.fixture(scope="session")
def small_store(small_root, tmp_path_factory):
    """The small data, prepared."""
    from bss.stages.prepare import prepare

    store = tmp_path_factory.mktemp("prepared") / "store"
    prepare(config_from_tree(small_tree(small_root), "params.yaml"), small_root, store)
    return store


@pytest.fixture(scope="session")
def pipeline(small_root, small_store, tmp_path_factory):
    """Folder with store, scores, plans, runs and report of the small data, and its config."""
    from bss.stages.compare import compare
    from bss.stages.measure import measure
    from bss.stages.schedule import schedule
    from bss.stages.train import train

    folder = tmp_path_factory.mktemp("outputs")
    config = config_from_tree(small_tree(small_root), "params.yaml")
    scores, plans, runs, report = (folder / name for name in ("scores", "plans", "runs", "report"))
    measure(config, small_store, scores)
    schedule(config, small_store, scores, plans)
    train(config, small_store, scores, plans, runs)
    compare(config, small_store, scores, runs, report)
    return folder, config


@pytest.fixture(scope="module")
def one_thread():
    """PyTorch computes with one thread, as in a trial."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory):
    """A database of MLflow without runs, to copy: making one takes a second."""
    from bss.tracking.destination import connect

    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    connect(f"sqlite:///{path}")
    return path


@pytest.fixture
def database(empty_database, tmp_path):
    """The address of a database of MLflow without runs, mlflow.db in the test's folder."""
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path}/mlflow.db"


@pytest.fixture(scope="session")
def s3_endpoint():
    """An object store that speaks S3, with its data in memory; its address."""
    import logging

    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture
def aws(s3_endpoint, tmp_path, monkeypatch):
    """The environment of a user of the object store, who has no AWS files at home; the store's address."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "the-secret")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_endpoint)
    # Set beforehand, so that what `bss` sets by default goes when the test ends.
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "3")
    monkeypatch.setenv("AWS_RETRY_MODE", "standard")
    return s3_endpoint


@pytest.fixture
def strict_aws(aws, monkeypatch):
    """The same, but the store knows one user only and refuses all others."""
    import boto3

    def first_calls_without_asking(count):
        headers = {"Content-Type": "text/plain"}
        request = urllib.request.Request(f"{aws}/moto-api/reset-auth", count.encode(), headers, method="POST")
        with urllib.request.urlopen(request, timeout=20):
            pass

    iam = boto3.Session().client("iam", region_name="us-east-1")
    iam.create_user(UserName="known")
    allow = '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}'
    iam.put_user_policy(UserName="known", PolicyName="all", PolicyDocument=allow)
    key = iam.create_access_key(UserName="known")["AccessKey"]
    first_calls_without_asking("0")
    yield key["AccessKeyId"], key["SecretAccessKey"]
    first_calls_without_asking("inf")
    iam.delete_access_key(UserName="known", AccessKeyId=key["AccessKeyId"])
    iam.delete_user_policy(UserName="known", PolicyName="all")
    iam.delete_user(UserName="known")


def pytest_runtest_teardown(item, nextitem):
    """Give freed memory back after each file: a trial has glibc keep it, and workers would grow to 2 GB."""
    if nextitem is None or nextitem.path != item.path:
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def pytest_sessionfinish():
    """Write how many hostile inputs were tried, where the environment asks for it and some were."""
    tally = sys.modules.get("tally")
    if os.environ.get("BSS_TALLY") and tally is not None:
        tally.add_to(Path(os.environ["BSS_TALLY"]))
