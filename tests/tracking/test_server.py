import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from bss.tracking.server import run_ui


def test_the_ui_answers_on_the_loopback_address(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    command = [Path(sys.executable).with_name("bss"), "ui", "--port", str(port)]
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        assert f"http://127.0.0.1:{port}".encode() in process.stdout.readline()
        for _ in range(600):
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as answer:
                    assert answer.status == 200
                    break
            except OSError:
                time.sleep(0.1)
        else:
            pytest.fail("the UI did not answer")
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_a_server_elsewhere_is_pointed_at(monkeypatch, capsys):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://me:secret@mlflow.example.org")
    assert run_ui(5000) == 0
    shown = capsys.readouterr().out
    assert "https://***@mlflow.example.org" in shown
    assert "secret" not in shown


def test_the_ui_listens_on_loopback_alone_and_its_password_is_on_no_command_line(monkeypatch, capsys):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://me:secret@db.example.org/mlflow")
    started = []

    def start(command, env, check):
        started.append((command, env))
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(subprocess, "run", start)
    assert run_ui(5000) == 0
    ((command, env),) = started
    assert command[command.index("--host") + 1] == "127.0.0.1"
    assert "secret" not in " ".join(map(str, command)) + capsys.readouterr().out
    assert env["MLFLOW_BACKEND_STORE_URI"] == "postgresql://me:secret@db.example.org/mlflow"
