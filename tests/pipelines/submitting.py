"""`bss submit` as it is typed, for tests."""

from pathlib import Path

import pytest

import pipelines.endpoint
import pipelines.server
import pipelines.submit
import pipelines.wait
from bss.cli import main
from bss.config import BUILTIN
from bss.kubeflow.parameters import config_to_json
from pipelines.compile import compile_pipeline

_compiled: dict[tuple[str, str, bool], str] = {}


def compile_once(cluster, config, caching=True):
    """Compile, unless the same was compiled before: a submission differs from the last one in its address alone."""
    given = Path(cluster).read_text(encoding="utf-8"), config_to_json(config), caching
    if given not in _compiled:
        _compiled[given] = compile_pipeline(cluster, config, caching)
    return _compiled[given]


IMAGE = "registry.example.org/team/bss:1a2b3c4d5e6f"


@pytest.fixture(autouse=True)
def in_project(monkeypatch, tmp_path):
    """This process in a clone of the project, with no credentials in its environment, and impatient."""
    monkeypatch.chdir(Path(__file__).parents[2])
    for name in ("KFP_TOKEN", "KF_PIPELINES_ENDPOINT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pipelines.endpoint, "POD_TOKEN", ("KF_PIPELINES_SA_TOKEN_PATH", str(tmp_path / "none")))
    monkeypatch.setattr(pipelines.server, "POD_NAMESPACE", tmp_path / "namespace")
    monkeypatch.setattr(pipelines.submit, "compile_pipeline", compile_once)
    monkeypatch.setattr(pipelines.wait, "POLL_SECONDS", 0.01)


def submit(address, *more):
    """Return the exit status of `bss submit` to `address` with the options `more`."""
    params = () if "--params" in more else ("--params", str(BUILTIN))
    return main(["submit", "--endpoint", address, "--image", IMAGE, *params, *map(str, more)])
