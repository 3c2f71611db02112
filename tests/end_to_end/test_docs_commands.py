"""The commands of README.md and docs/*.md, typed from a clean folder as they stand, on data that takes seconds.

docs_table.py says which test runs which command; each test also fails if it leaves one of its commands out.
"""

import ast
import base64
import json
import os
import re
import shutil
import subprocess
import time
import urllib.request
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.util import find_spec
from threading import Thread

import boto3
import mlflow
import pytest
from clones import clone_project, commit, environment, forking_environment, run
from docs_blocks import blocks, page_text
from docs_data import BIRDS, change_params, make_short, write_birds
from docs_run import TYPED, exported, filled_in, typed, words
from docs_table import COMMANDS
from ruamel.yaml import YAML

from bss.data.store import Store
from bss.files import read_json
from bss.tracking.server import WITHOUT_JOBS
from tests.datasets.test_crema_d import write_published
from tests.tracking.servers import free_port

pytestmark = pytest.mark.process


@pytest.fixture(autouse=True)
def no_command_is_left_out(request):
    yield
    test = request.node.originalname
    mine = {(page, command) for page, listed in COMMANDS.items() for command, by in listed.items() if by == test}
    assert mine <= TYPED, f"docs_table.py says that {test} runs these"


@pytest.fixture(scope="module")
def own_data(tmp_path_factory):
    """A fresh clone in which the README's commands for data of one's own ran; and what each of them printed."""
    folder = tmp_path_factory.mktemp("clone")
    clone_project(folder)
    write_birds(folder / "data" / "birds")
    commit(folder, "project")
    (folder / "params.yaml").write_text("seeds: [5]\n")
    first = "bss init --manifest data/birds/manifest.csv --force"
    refused = run(folder, *first.removesuffix(" --force").split(), check=False)
    assert (folder / "params.yaml").read_text() == "seeds: [5]\n", refused
    shown = {"refused": refused, "init": typed(folder, "README.md", first)}
    shown["params"] = YAML(typ="safe").load(folder / "params.yaml")
    change_params(folder / "params.yaml", make_short)
    shown["repro"] = typed(folder, "README.md", "dvc repro")
    shown["inspect"] = typed(folder, "README.md", "bss inspect")
    return folder, shown


def test_data_of_ones_own(own_data):
    folder, shown = own_data
    assert "--force" in shown["refused"]
    for bird in BIRDS:  # "prints the samples of each class and split"
        assert re.search(rf"{bird}\D+12\D+4\D+4\b", shown["init"]), shown["init"]
    (block,) = [b for b in blocks("docs/own-data.md") if b.language == "yaml" and "data/birds" in b.text]
    described = YAML(typ="safe").load(block.text)
    found = shown["params"]
    assert found["generate"] == described["generate"] == {}
    assert (found["prepare"]["root"], found["prepare"]["truth"]) == ("data/birds", None)
    for name in ("audio", "image", "motion"):
        assert found["prepare"]["modalities"][name]["kind"] == described["prepare"]["modalities"][name]["kind"]
    stages = re.findall(r"Running stage '([^']+)'", shown["repro"])
    assert stages == ["prepare", "audit", "measure", "schedule", "train", "compare"]
    compared = read_json(folder / "outputs/report/comparison.json", "compare")["schedulers"]
    assert set(compared) == {"uniform", "random-ranking", "bss-h", "bss-l"}
    assert "outputs/inspect.html" in shown["inspect"]
    page = (folder / "outputs" / "inspect.html").read_text(encoding="utf-8")
    assert all(bird in page for bird in BIRDS)


def test_the_stages_write_what_the_table_says(own_data):
    folder, _ = own_data
    rows = re.findall(r"^\| (\w+) \| `bss [^|]*\| [^|]*\| `([^`]+)`", page_text("docs/pipeline.md"), flags=re.M)
    assert [stage for stage, _ in rows] == ["generate", "prepare", "audit", "measure", "schedule", "train", "compare"]
    for _, written in rows[1:]:
        assert list(folder.glob(written.replace("<scheduler>", "bss-h").replace("<s>", "1"))), written
    assert (folder / "outputs" / "report" / "report.html").is_file()  # "Afterwards open"


def test_commands_named_in_the_text(own_data):
    folder, _ = own_data
    for command in ("bss sequence --scheduler bss-h --seed 0 --epoch 3", "bss check-cache"):
        assert f"`{command}`" in page_text("docs/pipeline.md")
    assert "`bss show --markdown`" in page_text("docs/results.md")
    table = run(folder, "bss", "show", "--markdown").splitlines()
    header = "| scheduler | test accuracy, % | vs uniform | vs random ranking | last epoch, % | steps |"
    assert header in page_text("docs/results.md")
    assert table[0].replace("random-ranking", "random ranking") == header
    shown = run(folder, "bss", "sequence", "--scheduler", "bss-h", "--seed", "0", "--epoch", "3")
    assert "bss-h seed 0 epoch 3: 36 samples" in words(shown)
    assert "as recorded" in words(shown)  # "checks it against the digest that training recorded"
    assert "checked" in run(folder, "bss", "check-cache")
    assert "Data and pipelines are up to date." in run(folder, "dvc", "repro")


def test_what_mlflow_did_not_get_is_sent_later(own_data):
    folder, _ = own_data
    for name in ("runs", "runs.mlflow"):
        shutil.rmtree(folder / "outputs" / name, ignore_errors=True)
    nobody = {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
    done = subprocess.run(
        ["bss", "train", "--scheduler", "bss-l", "--seed", "0"],
        cwd=folder, env=forking_environment(folder) | nobody, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0
    assert "bss sync" in done.stdout + done.stderr  # "and one at the end of the stage what to type"
    later = {"MLFLOW_TRACKING_URI": f"sqlite:///{folder}/later.db"}
    assert "2 runs sent" in typed(folder, "docs/reliability.md", "bss sync", **later)
    client = mlflow.MlflowClient(later["MLFLOW_TRACKING_URI"])
    (experiment,) = [e for e in client.search_experiments() if e.name == "birds"]
    runs = client.search_runs([experiment.experiment_id])
    assert sorted("mlflow.parentRunId" in run.data.tags for run in runs) == [False, True]
    assert "nothing to send" in typed(folder, "docs/reliability.md", "bss sync", **later)


def test_a_logged_model_predicts(own_data):
    folder, _ = own_data
    (block,) = [b for b in blocks("docs/tracking.md") if b.text.startswith("model = mlflow.pyfunc")]
    client = mlflow.MlflowClient(f"sqlite:///{folder}/mlflow.db")
    (experiment,) = [e for e in client.search_experiments() if e.name == "birds"]
    model = client.search_logged_models([experiment.experiment_id])[0]
    *lines, last = ast.parse(block.text.replace("<model id>", model.model_id)).body
    code = ["import mlflow", "mlflow.set_tracking_uri('sqlite:///mlflow.db')", *map(ast.unparse, lines)]
    code.append(f"found = {ast.unparse(last)}")
    code.append("print('predicted', found.to_json(orient='records'))")
    (shown,) = re.findall(r"^predicted (.*)$", run(folder, "python", "-c", "\n".join(code)), flags=re.M)
    rows = json.loads(shown)
    assert rows
    for row in rows:
        assert row["label"] in BIRDS
        assert 1 / 3 <= row["probability"] <= 1


def test_two_nodes_without_the_trainer(own_data, tmp_path):
    folder, _ = own_data
    (tmp_path / "outputs").mkdir()
    for name in ("store", "plans"):
        (tmp_path / "outputs" / name).symlink_to(folder / "outputs" / name)
    shutil.copy(folder / "params.yaml", tmp_path)

    def two_nodes(tree):
        tree["train"] |= {"nodes": 2, "processes": 1}
        tree["resources"]["staging"] = "s3://bucket/unused"

    change_params(tmp_path / "params.yaml", two_nodes)
    (command,) = [c for c in COMMANDS["docs/multi-node.md"] if c.startswith("torchrun")]
    instead = {"--nproc-per-node 4": "--nproc-per-node 1", "HOST:PORT": f"127.0.0.1:{free_port()}"}
    text = filled_in("docs/multi-node.md", command, instead)
    variables = environment(folder) | {"OMP_NUM_THREADS": "1"}
    nodes = [subprocess.Popen(["bash", "-c", text], cwd=tmp_path, env=variables) for _ in range(2)]
    assert [node.wait(timeout=300) for node in nodes] == [0, 0]
    trained = tmp_path / "outputs" / "runs" / "bss-l" / "seed=0"
    assert len((trained / "history.csv").read_text().splitlines()) == 5  # a header and four epochs
    assert (trained / "model.pt").is_file()


@pytest.fixture
def datasets_repository(s3_endpoint, own_data, tmp_path, monkeypatch):
    """A git repository whose tag v2 has data/birds under DVC, with its remote in an object store."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "the-secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    boto3.client("s3", endpoint_url=s3_endpoint).create_bucket(Bucket="documented")
    folder = tmp_path / "datasets"
    shutil.copytree(own_data[0] / "data" / "birds", folder / "data" / "birds")
    run(folder, "git", "init", "-q", "-b", "main")
    run(folder, "dvc", "init", "-q")
    run(folder, "dvc", "remote", "add", "-d", "store", "s3://documented/cache")
    run(folder, "dvc", "remote", "modify", "store", "endpointurl", s3_endpoint)
    run(folder, "dvc", "add", "-q", "data/birds")
    commit(folder, "birds")
    run(folder, "git", "tag", "v2")
    run(folder, "dvc", "push", "-q")
    return folder


def test_data_in_another_repository(datasets_repository, own_data, tmp_path):
    command = "bss fetch https://git.example.org/datasets.git --revision v2 --path data/birds --to data/birds"
    instead = {"https://git.example.org/datasets.git": f"file://{datasets_repository}"}
    place = tmp_path / "place"
    place.mkdir()
    shown = typed(place, "docs/own-data.md", command, instead)
    head = run(datasets_repository, "git", "rev-parse", "v2").strip()
    (tracked,) = YAML(typ="safe").load(datasets_repository / "data" / "birds.dvc")["outs"]
    assert head in shown
    assert tracked["md5"] in shown
    there = {p.relative_to(place): p.read_bytes() for p in (place / "data").rglob("*") if p.is_file()}
    birds = own_data[0] / "data" / "birds"
    assert there == {p.relative_to(own_data[0]): p.read_bytes() for p in birds.rglob("*") if p.is_file()}
    assert "data/birds" in typed(place, "docs/own-data.md", command, instead, status=1)  # "must be new or empty"


def test_a_published_dataset(tmp_path):
    clone_project(tmp_path)
    write_published(tmp_path / "data" / "CREMA-D")
    commit(tmp_path, "project")
    page = "docs/datasets.md"
    assert "crema-d" in typed(tmp_path, page, "bss presets")
    printed = YAML(typ="safe").load(typed(tmp_path, page, "bss presets crema-d"))
    typed(tmp_path, page, "bss init --dataset crema-d --root data/CREMA-D --force")
    assert printed["network"] == YAML(typ="safe").load(tmp_path / "params.yaml")["network"]
    change_params(tmp_path / "params.yaml", make_short)
    stages = re.findall(r"Running stage '([^']+)'", typed(tmp_path, page, "dvc repro"))
    assert stages == ["prepare", "audit", "measure", "schedule", "train", "compare"]
    assert "outputs/inspect.html" in typed(tmp_path, page, "bss inspect")
    assert Store.open(tmp_path / "outputs" / "store").classes == ("ANG", "DIS", "FEA", "HAP", "NEU", "SAD")
    (short,) = [b for b in blocks(page) if b.language == "yaml" and b.text.startswith("dataset: crema-d")]
    (tmp_path / "short.yaml").write_text(short.text)
    named = "bss prepare --params short.yaml --set train.epochs=5"
    assert f"`{named}`" in page_text(page)
    run(tmp_path, *named.split(), "--store", "outputs/short")
    assert "val" not in Store.open(tmp_path / "outputs" / "short").splits  # the published split has none


class Asking(BaseHTTPRequestHandler):
    """A server of MLflow without experiments, for one user."""

    def do_POST(self):
        credentials = "Basic " + base64.b64encode(b"name:password").decode()
        known = self.headers.get("Authorization") == credentials
        self.send_response(200 if known else 401)
        self.end_headers()
        self.wfile.write(b"{}" if known else b"You are not authenticated.")

    def log_message(self, *values):
        pass


@contextmanager
def asking_server():
    server = HTTPServer(("127.0.0.1", 0), Asking)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def test_the_pipelines_side_of_mlflow(tmp_path):
    page = "docs/tracking.md"
    with asking_server() as address:
        given = exported(page, "export MLFLOW_TRACKING_URI=https://mlflow.example.org", address)
        given |= exported(page, "export MLFLOW_TRACKING_USERNAME=...", "name")
        given |= exported(page, "export MLFLOW_TRACKING_PASSWORD=...", "password")
        assert "All checks passed." in words(typed(tmp_path, page, "bss doctor", **given))
        given["MLFLOW_TRACKING_PASSWORD"] = "another"
        assert "1 to fix: MLflow" in words(typed(tmp_path, page, "bss doctor", status=1, **given))


@pytest.mark.skipif(find_spec("flask_wtf") is None, reason="`pip install 'mlflow[auth]'` for a server with users")
def test_an_mlflow_server_with_users(tmp_path):
    page, port = "docs/tracking.md", free_port()
    secrets = exported(page, "export MLFLOW_FLASK_SERVER_SECRET_KEY=...", "any long random text")
    secrets |= exported(page, "export MLFLOW_AUTH_ADMIN_PASSWORD=...", "of-the-first-user")
    (command,) = [c for c in COMMANDS[page] if c.startswith("mlflow server")]
    instead = {"--host 0.0.0.0": "--host 127.0.0.1 --workers 1", "--port 5000": f"--port {port}"}
    text = f"exec {filled_in(page, command, instead)}"
    variables = environment(tmp_path) | WITHOUT_JOBS | secrets
    server = subprocess.Popen(["bash", "-c", text], cwd=tmp_path, env=variables, start_new_session=True)
    try:
        wait_for(f"http://127.0.0.1:{port}/health")
        admin = exported(page, "export MLFLOW_TRACKING_USERNAME=admin")
        admin |= exported(page, "export MLFLOW_TRACKING_PASSWORD=...", "of-the-first-user")
        (create,) = [c for c in COMMANDS[page] if c.startswith("python -c")]
        password = "twelve-letters-or-more"
        instead = {"https://mlflow.example.org": f"http://127.0.0.1:{port}", '"password"': f'"{password}"'}
        typed(tmp_path, page, create, instead, **admin)
        user = {"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{port}", "MLFLOW_TRACKING_USERNAME": "name"}
        user["MLFLOW_TRACKING_PASSWORD"] = password
        assert "ok MLflow" in words(typed(tmp_path, page, "bss doctor", **user))
        user["MLFLOW_TRACKING_PASSWORD"] = "wrong"
        assert "1 to fix: MLflow" in words(typed(tmp_path, page, "bss doctor", status=1, **user))
        assert (tmp_path / "basic_auth.db").is_file()  # "Users are in `basic_auth.db` beside it"
    finally:
        os.killpg(server.pid, 9)
        server.wait()


def wait_for(address):
    for _ in range(1800):
        try:
            with urllib.request.urlopen(address, timeout=10):
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"{address} does not answer")
