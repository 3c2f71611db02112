from dataclasses import replace

import mlflow
import pytest

from bss.errors import BssError
from bss.kubeflow.execution import IMAGE_TAG, RUN_ID, end, end_finished, find_execution, join_execution, open_or_find
from bss.tracking.sender import require_sent
from bss.tracking.trial_run import TrialRun


@pytest.fixture
def address(database, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv(RUN_ID, "run-1")
    return database


@pytest.fixture
def config(tree, make_config):
    return make_config(tree | {"tracking": {"enabled": True}})


def only_run(address, **tags):
    client = mlflow.MlflowClient(address)
    runs = client.search_runs([e.experiment_id for e in client.search_experiments()])
    (found,) = [run for run in runs if all(run.data.tags.get(name) == value for name, value in tags.items())]
    return found


@pytest.mark.slow
def test_the_steps_of_one_pipeline_run_share_its_mlflow_run(address, config, monkeypatch, tmp_path):
    opened = open_or_find(config, "pets", address, {IMAGE_TAG: "bss:1234567"})
    assert open_or_find(config, "pets", address, {}) == opened
    assert join_execution(config, address) == opened
    parent = only_run(address)
    child = TrialRun.start(tmp_path / "spool", opened, "uniform seed=0", {}, {})
    require_sent(tmp_path / "spool", address)
    assert find_execution(address) == opened
    tags = only_run(address, **{"bss.record": child.record}).data.tags
    assert tags[IMAGE_TAG] == "bss:1234567"
    assert tags["mlflow.parentRunId"] == parent.info.run_id
    monkeypatch.setenv(RUN_ID, "run-2")
    assert find_execution(address) is None
    assert open_or_find(config, "pets", address, {}).record != opened.record


# Execution.State of kfp 2.17.0, third_party/ml-metadata/ml_metadata/proto/metadata_store.proto:307-315, whose names
# backend/src/v2/driver/resolve.go:472 gives to an exit handler.
OF_THE_BACKEND = {
    "UNKNOWN": "KILLED",
    "NEW": "KILLED",
    "RUNNING": "KILLED",
    "COMPLETE": "FINISHED",
    "FAILED": "FAILED",
    "CACHED": "FINISHED",
    "CANCELED": "KILLED",
}
# kfp.dsl.PipelineTaskFinalStatus.state, as kfp's local runner fills it.
OF_THE_LOCAL_RUNNER = {"SUCCEEDED": "FINISHED", "FAILED": "FAILED", "CANCELLED": "KILLED"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("state", "status"), [*OF_THE_BACKEND.items(), *OF_THE_LOCAL_RUNNER.items(), ("A_NEW_WORD", "FAILED")]
)
def test_a_run_that_no_step_has_ended_ends_as_the_pipeline_did(state, status, address, config):
    open_or_find(config, "pets", address, {})
    assert end(address, state).endswith(f": {status}")
    assert only_run(address).info.status == status


@pytest.mark.slow
@pytest.mark.parametrize("state", [*OF_THE_BACKEND, *OF_THE_LOCAL_RUNNER, "A_NEW_WORD"])
def test_a_run_that_the_comparison_has_ended_stays_finished_whatever_the_backend_says(state, address, config):
    execution = open_or_find(config, "pets", address, {})
    end_finished(config, execution)
    ended = only_run(address).info
    assert ended.status == "FINISHED"
    assert end(address, state).endswith(": FINISHED")
    assert (only_run(address).info.status, only_run(address).info.end_time) == ("FINISHED", ended.end_time)


@pytest.mark.slow
def test_a_comparison_that_cannot_end_the_run_leaves_that_to_the_last_step(address, tree, make_config, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    config, strict = (make_config(tree | {"tracking": {"strict": strict}}) for strict in (False, True))
    execution = open_or_find(config, "pets", address, {})
    away = replace(execution, tracking_uri="http://127.0.0.1:9")
    end_finished(config, away)
    assert only_run(address).info.status == "RUNNING"
    with pytest.raises(BssError, match="does not answer"):
        end_finished(strict, away)
    end(address, "COMPLETE")
    assert only_run(address).info.status == "FINISHED"


def test_a_pipeline_that_failed_before_its_run_was_opened_ends_without_one(address):
    assert end(address, "FAILED") == "There is no MLflow run to end."
    assert end("", "FAILED") == "There is no MLflow run to end."


def test_without_tracking_there_is_no_run(tree, make_config):
    assert join_execution(make_config(tree), "") is None


def test_records_that_would_be_lost_are_refused(address, config):
    with pytest.raises(BssError, match="mlflow_tracking_uri: missing"):
        join_execution(config, "")


def test_a_run_that_is_not_there_is_named(address, tree, make_config, capsys):
    assert join_execution(make_config(tree | {"tracking": {"enabled": True}}), address) is None
    assert "no run for the pipeline run run-1" in capsys.readouterr().out
    with pytest.raises(BssError, match="no run for the pipeline run run-1"):
        join_execution(make_config(tree | {"tracking": {"strict": True}}), address)


def test_a_server_that_does_not_answer_ends_no_step_unless_that_is_asked_for(
    address, tree, make_config, capsys, monkeypatch
):
    nobody = "http://me:secret@127.0.0.1:9"
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    config, strict = (make_config(tree | {"tracking": {"strict": strict}}) for strict in (False, True))
    assert open_or_find(config, "pets", nobody, {}) is None
    assert join_execution(config, nobody) is None
    assert "secret" not in end(nobody, "SUCCEEDED")
    shown = capsys.readouterr().out
    assert shown.count("continues without MLflow") == 2
    assert "secret" not in shown
    for step in (lambda: open_or_find(strict, "pets", nobody, {}), lambda: join_execution(strict, nobody)):
        with pytest.raises(BssError, match="does not answer"):
            step()


def test_outside_of_a_pipeline_the_run_id_is_asked_for(address, config, monkeypatch):
    monkeypatch.delenv(RUN_ID)
    with pytest.raises(BssError, match="BSS_KFP_RUN_ID: not set"):
        join_execution(config, address)
