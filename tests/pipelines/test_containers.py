"""Containers of a real Docker engine: what kfp.local's own way gets wrong."""

import os
import uuid
from types import SimpleNamespace

import pytest

from bss.errors import BssError
from pipelines.containers import connect, find_image, run_container

pytestmark = pytest.mark.process

IMAGE = os.environ.get("BSS_TEST_IMAGE")
in_containers = pytest.mark.skipif(IMAGE is None, reason="BSS_TEST_IMAGE names no image: no Docker engine here")


@in_containers
@pytest.mark.parametrize("command", [["sh", "-c", "exit 3"], ["sh", "-c", "echo gone; exit 3"]])
def test_a_container_that_fails_at_once_is_never_taken_for_a_success(command):
    client = connect()
    label = uuid.uuid4().hex  # other tests run containers of this image at the same time
    for _ in range(10):
        assert run_container(client, IMAGE, command, {}, labels=[label]) == 3
    assert client.containers.list(all=True, filters={"label": label}) == []


@in_containers
def test_the_log_of_a_container_is_shown_whole(capfd):
    client = connect()
    assert run_container(client, IMAGE, ["sh", "-c", "seq 1 20000; echo Größe >&2"], {}) == 0
    lines = capfd.readouterr().out.split()
    assert [line for line in lines if line.isdigit()] == [str(i) for i in range(1, 20001)]
    assert "Größe" in lines


class CutOff:
    """A container as docker-py has it, whose followed log stops before its last bytes, as moby's does under load."""

    def start(self):
        pass

    def logs(self, stream, follow):
        text = "first\nzwölf\nlast\n".encode()
        chunks = [text[:7], text[7:9]] if follow else [text[:4], text[4:9], text[9:11], text[11:]]
        return iter(chunks)

    def wait(self):
        return {"StatusCode": 0}

    def remove(self, force):
        pass


def test_what_following_the_log_missed_is_shown_after_the_end(capsys):
    client = SimpleNamespace(containers=SimpleNamespace(create=lambda image, **settings: CutOff()))
    assert run_container(client, "image", ["true"], {}) == 0
    assert capsys.readouterr().out == "first\nzwölf\nlast\n"


@in_containers
def test_an_image_that_is_not_there_is_named():
    with pytest.raises(BssError, match="bss:0000000: the Docker engine has no such image"):
        find_image(connect(), "bss:0000000")


def test_an_engine_that_does_not_answer_is_said(monkeypatch, tmp_path):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/docker.sock")
    with pytest.raises(BssError, match="Docker does not answer"):
        connect()


@in_containers
def test_the_image_is_labelled_and_does_not_run_as_root():
    image = find_image(connect(), IMAGE)
    config = image.attrs["Config"]
    assert config["User"] == "10001"
    labels = config["Labels"]
    commit = labels["org.opencontainers.image.revision"]
    assert commit.startswith(IMAGE.rpartition(":")[2].removesuffix("-modified"))
    assert labels["org.opencontainers.image.version"]
    assert f"BSS_COMMIT={commit}" in config["Env"]


@in_containers
def test_doctor_in_the_image_tells_what_it_sees(capfd):
    client = connect()
    assert run_container(client, IMAGE, ["bss", "doctor"], {}, network_mode="none") == 0
    assert "All checks passed" in capfd.readouterr().out
    settings = {"environment": {"MLFLOW_TRACKING_URI": "http://127.0.0.1:1"}, "network_mode": "none"}
    assert run_container(client, IMAGE, ["bss", "doctor"], {}, **settings) == 1
    assert "does not answer" in capfd.readouterr().out


@in_containers
def test_no_secret_and_no_tool_of_the_build_is_in_the_image(capfd):
    client = connect()
    script = "ls -A /build /wheels /root 2>/dev/null; env; find / -xdev -name .git -o -xdev -name '.env' 2>/dev/null"
    assert run_container(client, IMAGE, ["sh", "-c", script + " | head; true"], {}, user="0") == 0
    output = capfd.readouterr().out
    assert "TOKEN" not in output
    assert "PASSWORD" not in output
    assert ".git" not in output
