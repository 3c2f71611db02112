"""What tests of `bss submit` share."""

from pathlib import Path

import pytest

import pipelines.endpoint
import pipelines.server
import pipelines.wait


@pytest.fixture
def in_project(monkeypatch, tmp_path):
    """This process in a clone of the project, with no credentials in its environment, and impatient."""
    monkeypatch.chdir(Path(__file__).parents[2])
    for name in ("KFP_TOKEN", "KF_PIPELINES_ENDPOINT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pipelines.endpoint, "POD_TOKEN", ("KF_PIPELINES_SA_TOKEN_PATH", str(tmp_path / "none")))
    monkeypatch.setattr(pipelines.server, "POD_NAMESPACE", tmp_path / "namespace")
    monkeypatch.setattr(pipelines.wait, "POLL_SECONDS", 0.01)
