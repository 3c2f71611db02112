import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from servers import free_port

from bss.tracking.server import run_ui


@pytest.fixture
def ui(tmp_path):
    """A running `bss ui` that answers, and its address."""
    port = free_port()
    environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    command = [Path(sys.executable).with_name("bss"), "ui", "--port", str(port)]
    # Shells have what they run in the background ignore it, and so would the UI.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    signal.signal(signal.SIGINT, before)
    address = f"http://127.0.0.1:{port}/"
    try:
        assert address[:-1].encode() in process.stdout.readline()
        for _ in range(1800):
            if answers(address):
                break
            time.sleep(0.1)
        else:
            pytest.fail("the UI did not answer")
        yield process, address
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()


def answers(address):
    try:
        with urllib.request.urlopen(address, timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


@pytest.mark.process
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_ui_answers_on_the_loopback_address_until_it_is_stopped(ui, number):
    process, address = ui
    process.send_signal(number)
    assert process.wait() == 0
    with socket.socket() as probe:  # the server's workers have ended too: nobody listens on the port
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # closed connections may remain for a minute
        probe.bind(("127.0.0.1", int(address.rpartition(":")[2].strip("/"))))
    assert not answers(address)


def test_a_server_elsewhere_is_pointed_at(monkeypatch, capsys):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://me:secret@mlflow.example.org")
    assert run_ui(5000) == 0
    shown = capsys.readouterr().out
    assert "https://***@mlflow.example.org/#/experiments?workflowType=machine_learning" in shown
    assert "secret" not in shown


@pytest.mark.process
def test_the_ui_listens_on_loopback_alone_and_its_password_is_on_no_command_line(monkeypatch, capsys):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://me:secret@db.example.org/mlflow")
    started = []

    def start(command, env, start_new_session):
        started.append((command, env))
        return real(["true"], start_new_session=start_new_session)

    real = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", start)
    assert run_ui(5000) == 0
    ((command, env),) = started
    assert command[command.index("--host") + 1] == "127.0.0.1"
    assert "secret" not in " ".join(map(str, command)) + capsys.readouterr().out
    assert env["MLFLOW_BACKEND_STORE_URI"] == "postgresql://me:secret@db.example.org/mlflow"
    assert env["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "false"  # eight processes that nobody here has use for
    monkeypatch.setenv("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "true")
    assert run_ui(5000) == 0
    assert started[-1][1]["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "true"
