"""Submission through kfp's own client to a server that speaks its API."""

import json
import shlex
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from kubeflow_server import RUN_ID, Server, serve
from submitting import IMAGE, in_project, submit  # noqa: F401  a fixture

from bss.cli import main
from bss.config import BUILTIN
from bss.config.combinations import combinations_of
from bss.errors import BssError
from bss.kubeflow.start import RESOLVED, resolve_config
from pipelines.submit import check_image, run_arguments

sys.path.insert(0, str(Path(__file__).parents[1] / "end_to_end"))
from docs_table import COMMANDS

pytestmark = pytest.mark.process
OPTIONS = """
--set train.epochs=5 --seed 3 --scheduler uniform --scheduler random-ranking
--experiment birds --run-name first --mlflow http://mlflow:5000
--data-repository https://example.org/data.git --data-revision v1 --data-path data/birds
--before s3://bucket/first/compare/report
"""


def test_a_run_is_submitted_with_its_parameters(capsys):
    server = Server()
    with serve(server) as address:
        status = submit(address, *OPTIONS.split())
    assert status == 0
    (body,) = server.submitted
    assert body["display_name"] == "first"
    assert body["experiment_id"] == "id-of-birds"
    given = body["runtime_config"]["parameters"]
    assert given["image"] == IMAGE
    assert given["overrides"] == ["train.epochs=5"]
    assert given["schedulers"] == ["uniform", "random-ranking"]
    assert given["seeds"] == [3]
    assert given["parameters"] == (BUILTIN).read_text()
    assert (given["data_revision"], given["data_path"]) == ("v1", "data/birds")
    assert given["mlflow_tracking_uri"] == "http://mlflow:5000"
    assert given["before"] == "s3://bucket/first/compare/report"
    assert body["pipeline_spec"]["pipeline_spec"]["pipelineInfo"]["name"] == "bss"
    output = capsys.readouterr().out
    assert f"/#/runs/details/{RUN_ID}" in output


def test_strategies_are_submitted_as_docs_kubeflow_md_types_it():
    (typed,) = [command for command in COMMANDS["docs/kubeflow.md"] if "--strategy" in command]
    options = shlex.split(typed)
    server = Server()
    with serve(server) as address:
        assert submit(address, *options[options.index("--set") : -1]) == 0
    given = server.submitted[0]["runtime_config"]["parameters"]
    assert given["strategies"] == ["none", "ogm"]
    config = resolve_config(*(given[name] for name in RESOLVED))
    assert [row.name for row in combinations_of(config)] == [
        *("uniform", "random-ranking", "bss-h"),
        *("uniform+ogm", "random-ranking+ogm", "bss-h+ogm"),
    ]


def cached_tasks(body):
    """Return the names of all tasks in a submitted body, at any depth, and of those that may be reused."""
    spec = body["pipeline_spec"]["pipeline_spec"]
    dags = [part["dag"] for part in (spec["root"], *spec["components"].values()) if "dag" in part]
    tasks = [task for dag in dags for task in dag["tasks"].values()]
    names = {task["taskInfo"]["name"] for task in tasks}
    return names, {task["taskInfo"]["name"] for task in tasks if task.get("cachingOptions", {}).get("enableCache")}


@pytest.mark.parametrize(
    ("options", "reused"), [([], {"prepare", "measure", "schedule", "train"}), (["--no-cache"], set())]
)
def test_the_submitted_body_says_of_every_step_whether_it_may_be_reused(options, reused):
    server = Server()
    with serve(server) as address:
        assert submit(address, *options) == 0
    (body,) = server.submitted
    names, found = cached_tasks(body)
    assert names >= {"start", "prepare", "measure", "schedule", "train", "compare", "finish"}
    assert found == reused


def test_a_token_comes_from_a_file_or_the_environment(tmp_path, monkeypatch, capsys):
    server = Server(token="s3cret")
    path = tmp_path / "token"
    path.write_text("s3cret\n")
    with serve(server) as address:
        assert submit(address, "--token-file", str(path)) == 0
        monkeypatch.setenv("KFP_TOKEN", "s3cret")
        assert submit(address) == 0
        assert len(server.submitted) == 2
        monkeypatch.setenv("KFP_TOKEN", "wrong")
        assert submit(address) == 1
        monkeypatch.delenv("KFP_TOKEN")
        assert submit(address) == 1
    captured = capsys.readouterr()
    assert "refuses this token (status 401)" in captured.err
    assert "asks for a token (status 401). Give a valid one with --token-file or in KFP_TOKEN" in captured.err
    assert "s3cret" not in captured.out + captured.err + json.dumps(server.submitted)


def test_nobody_at_the_endpoint_is_said_at_once(capsys):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert submit(f"http://127.0.0.1:{port}") == 1
    error = capsys.readouterr().err
    assert f"http://127.0.0.1:{port}: does not answer" in error
    assert "kubectl port-forward" in error
    assert "Traceback" not in error


def test_something_else_at_the_endpoint_is_said(capsys):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(b"<h1>welcome</h1>")

        def log_message(self, *arguments):
            pass

    http = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=http.serve_forever, daemon=True).start()
    assert submit(f"http://127.0.0.1:{http.server_port}") == 1
    http.shutdown()
    http.server_close()
    assert "answers, but not as Kubeflow Pipelines 2 does" in capsys.readouterr().err


def test_what_the_server_refuses_is_said_in_its_words(capsys):
    server = Server()
    server.refusal = "namespace is empty"
    with serve(server) as address:
        assert submit(address) == 1
    assert "Kubeflow Pipelines refused: namespace is empty" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--set", "train.epoch=5"], "train.epoch: unknown key; did you mean `epochs`?"),
        (["--scheduler", "bss-x"], "schedulers: bss-x: not in params.yaml"),
        (["--strategy", "ogm"], "strategies: ogm: not in params.yaml, which has none, repair."),
        (["--set", "strategies.ogm={kind: ogm}", "--strategy", "ogm"], "combinations: no entry in params.yaml matches"),
        (["--set", "resources.device=cpu"], "resources.device: cpu, but each training pod requests 1 GPU"),
        (["--data-path", "data/birds"], "--data-repository and --data-path belong together"),
        (["--params", "nowhere.yaml"], "nowhere.yaml: cannot be read"),
        (["--cluster", "nowhere.yaml"], "nowhere.yaml: cannot be read"),
    ],
)
def test_a_mistake_is_said_before_anything_is_submitted(options, message, capsys):
    server = Server()
    with serve(server) as address:
        assert submit(address, *options) == 1
    assert message in capsys.readouterr().err
    assert server.submitted == []


def test_the_endpoint_is_asked_for(capsys):
    assert main(["submit", "--image", IMAGE]) == 1
    assert "--endpoint is missing and KF_PIPELINES_ENDPOINT is not set" in capsys.readouterr().err
    assert submit("localhost:8080") == 1
    assert "must begin with http:// or https://" in capsys.readouterr().err


@pytest.mark.parametrize("image", [IMAGE, "bss@sha256:" + "0" * 64, "bss:v1.2.0-1a2b3c4", "bss:1a2b3c4d5e6f-modified"])
def test_images_whose_name_stays(image):
    check_image(image)


@pytest.mark.parametrize("image", ["bss", "bss:latest", "registry:5000/bss", "bss:main", "bss:v1", "bss@sha256:12"])
def test_images_whose_name_moves_are_refused(image):
    with pytest.raises(BssError, match="name it by digest"):
        check_image(image)


def test_without_a_repository_the_built_in_data_is_used():
    given = run_arguments(BUILTIN, [], [], [], ("", "", ""), "")
    assert (given["data_repository"], given["seeds"], given["schedulers"]) == ("", [], [])


@pytest.mark.parametrize(
    ("data", "mlflow", "option"),
    [
        (("https://me:secret@h/r.git", "", "x"), "", "--data-repository"),
        (("https://token-secret@h/r.git", "", "x"), "", "--data-repository"),
        (("", "", ""), "https://me:secret@h", "--mlflow"),
    ],
)
def test_a_password_in_an_address_does_not_become_a_parameter_of_the_run(data, mlflow, option):
    with pytest.raises(BssError, match=f"{option} .*contains a password") as caught:
        run_arguments(BUILTIN, [], [], [], data, mlflow)
    assert "secret@" not in str(caught.value)
    plain = run_arguments(BUILTIN, [], [], [], ("git@host:r.git", "", "x"), "http://mlflow:5000")
    assert plain["data_repository"] == "git@host:r.git"
