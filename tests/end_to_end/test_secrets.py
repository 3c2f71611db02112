"""Secrets of the environment are nowhere in what the tools write and print."""

import base64
import os
import subprocess
import urllib.parse
from pathlib import Path

import pytest
from clones import BIN, clone_project, commit, forking_environment, write_params
from conftest import small_tree

from bss.config import config_from_tree, config_to_tree

MARK = "s3cr3t"
NOBODY = f"me:{MARK}-in-the-address@127.0.0.1:9"
SECRETS = {
    "AWS_ACCESS_KEY_ID": f"AKIA-{MARK}-id",
    "AWS_SECRET_ACCESS_KEY": f"{MARK}-key/with+signs",
    "AWS_SESSION_TOKEN": f"{MARK}-session",
    "MLFLOW_TRACKING_PASSWORD": f"{MARK}-password",
    "MLFLOW_TRACKING_TOKEN": f"{MARK}-token",
    "MLFLOW_FLASK_SERVER_SECRET_KEY": f"{MARK}-flask",
    "HF_TOKEN": f"hf_{MARK}",
    "KFP_TOKEN": f"{MARK}-kubeflow",
    "GIT_PASSWORD": f"{MARK}-git",
}


def in_other_words(secret):
    """Return the secret as it may be written: as it is, as part of an address, in base64."""
    encoded = [base64.b64encode(f"{prefix}{secret}".encode()).decode().rstrip("=")[4:-2] for prefix in ("", "x", "xy")]
    return {secret.encode(), urllib.parse.quote(secret, safe="").encode(), *(text.encode() for text in encoded)}


SOUGHT = {MARK.encode()} | set().union(*(in_other_words(secret) for secret in SECRETS.values()))


def found_below(folder: Path):
    """Return the files below `folder` that hold a secret; git's own configuration has the address it was given."""
    found = []
    for path in folder.rglob("*"):
        if path.is_file() and path != folder / ".git" / "config" and "__pycache__" not in path.parts:
            content = path.read_bytes()
            found += [str(path.relative_to(folder)) for secret in SOUGHT if secret in content]
    return found


@pytest.fixture(scope="module")
def project(small_root, tmp_path_factory):
    """A repository with this project, whose remote's address holds a password, and small data."""
    folder = tmp_path_factory.mktemp("secrets") / "project"
    folder.mkdir()
    clone_project(folder)
    tree = small_tree(small_root) | {"seeds": [0], "tracking": {"enabled": True, "models": "first-seed"}}
    tree["schedule"] = {"schedulers": {name: tree["schedule"]["schedulers"][name] for name in ("uniform", "bss-l")}}
    tree["compare"] = {"control": None, "resamples": 1000}
    tree["train"]["epochs"] = 1
    write_params(folder, config_to_tree(config_from_tree(tree, "params.yaml")) | {"generate": {}})
    commit(folder, "project")
    subprocess.run(["git", "remote", "add", "origin", f"https://{NOBODY}/repo.git"], cwd=folder, check=True)
    return folder


def call(folder, *command, **variables):
    """Run a command with all secrets in its environment; return its exit status and all that it printed."""
    env = {**forking_environment(folder), **SECRETS, "AWS_EC2_METADATA_DISABLED": "true", **variables}
    env |= {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "AWS_MAX_ATTEMPTS": "1", "TMPDIR": str(folder.parent)}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=600)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.process
def test_secrets_of_the_environment_are_in_nothing_that_is_written_or_printed(project):
    outputs = []
    code, output = call(project, "dvc", "repro")
    assert code == 0, output
    outputs.append(output)
    server = f"http://{NOBODY}"
    failing = [
        ("bss", "doctor"),
        ("bss", "fetch", f"https://me:{MARK}/with@a/slash@127.0.0.1:9/repo.git", "--path", "data", "--to", "fetched"),
        ("bss", "submit", "--image", "bss:1a2b3c4", "--mlflow", server),
    ]
    for command in failing:
        code, output = call(project, *command, MLFLOW_TRACKING_URI=server, AWS_ENDPOINT_URL=server)
        assert code != 0, (command, output)
        outputs.append(output)
    # Without a server the records of a trial may wait: it need not fail.
    outputs.append(call(project, "bss", "train", MLFLOW_TRACKING_URI=server)[1])
    for command in (("bss", "show"), ("bss", "compile", "--output", "compiled.yaml")):
        code, output = call(project, *command)
        assert code == 0, output
        outputs.append(output)
    assert (project / "mlflow.db").is_file()
    assert list((project / "mlartifacts").rglob("params.json"))
    assert [output for output in outputs for secret in SOUGHT if secret.decode() in output] == []
    assert found_below(project) == []
    assert found_below(project.parent) == ["project/.git/config"]


def test_the_search_finds_a_secret_however_it_is_written(tmp_path):
    for number, text in enumerate(
        [
            SECRETS["MLFLOW_TRACKING_PASSWORD"],
            urllib.parse.quote(SECRETS["AWS_SECRET_ACCESS_KEY"], safe=""),
            base64.b64encode(f"user:{SECRETS['MLFLOW_TRACKING_PASSWORD']}".encode()).decode(),
        ]
    ):
        (tmp_path / f"{number}").write_text(f"a line with {text} in it")
    assert sorted(set(found_below(tmp_path))) == ["0", "1", "2"]


def test_nothing_of_the_environment_gets_into_the_image():
    """Only what .dockerignore lets through is sent to Docker, and the Dockerfile takes two arguments."""
    root = Path(__file__).parents[2]
    lines = (root / ".dockerignore").read_text().split()
    assert lines[0] == "*"
    assert not any(word in line for line in lines for word in (".env", ".git", ".aws", "mlflow", ".dvc"))
    arguments = [line.split()[1] for line in (root / "Dockerfile").read_text().splitlines() if line.startswith("ARG")]
    assert {argument.partition("=")[0] for argument in arguments} == {"BASE_IMAGE", "COMMIT", "VERSION"}
    assert os.access(BIN / "bss", os.X_OK)
