import mlflow
import pytest

from bss.errors import BssError
from bss.kubeflow.execution import IMAGE_TAG, RUN_ID, end, find_execution, join_execution, open_or_find
from bss.tracking.runs import CellRun


@pytest.fixture
def address(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv(RUN_ID, "run-1")
    return f"sqlite:///{tmp_path}/mlflow.db"


@pytest.fixture
def config(tree, make_config):
    return make_config(tree | {"tracking": {"enabled": True}})


def test_the_steps_of_one_pipeline_run_share_its_mlflow_run(address, config, monkeypatch):
    opened = open_or_find(config, "pets", address, {IMAGE_TAG: "bss:1234567"})
    assert open_or_find(config, "pets", address, {}) == opened
    assert join_execution(config, address) == opened
    child = CellRun.start(opened, "uniform seed=0", {}, {})
    assert find_execution(address) == opened
    tags = mlflow.MlflowClient(address).get_run(child.run_id).data.tags
    assert tags[IMAGE_TAG] == "bss:1234567"
    assert tags["mlflow.parentRunId"] == opened.parent_run_id
    monkeypatch.setenv(RUN_ID, "run-2")
    assert find_execution(address) is None
    assert open_or_find(config, "pets", address, {}).parent_run_id != opened.parent_run_id


@pytest.mark.parametrize(
    ("state", "status"), [("SUCCEEDED", "FINISHED"), ("FAILED", "FAILED"), ("CANCELLED", "KILLED")]
)
def test_the_run_ends_as_the_pipeline_did(state, status, address, config):
    opened = open_or_find(config, "pets", address, {})
    end(address, state)
    assert mlflow.MlflowClient(address).get_run(opened.parent_run_id).info.status == status


def test_a_pipeline_that_failed_before_its_run_was_opened_ends_without_one(address):
    assert end(address, "FAILED") == "There is no MLflow run to end."
    assert end("", "FAILED") == "There is no MLflow run to end."


def test_without_tracking_there_is_no_run(tree, make_config):
    assert join_execution(make_config(tree), "") is None


def test_records_that_would_be_lost_are_refused(address, config):
    with pytest.raises(BssError, match="mlflow_tracking_uri: not given"):
        join_execution(config, "")


def test_a_run_that_is_gone_is_named(address, config):
    with pytest.raises(BssError, match="has no run of the pipeline run run-1"):
        join_execution(config, address)


def test_outside_of_a_pipeline_the_run_id_is_asked_for(address, config, monkeypatch):
    monkeypatch.delenv(RUN_ID)
    with pytest.raises(BssError, match="BSS_KFP_RUN_ID: not set"):
        join_execution(config, address)
