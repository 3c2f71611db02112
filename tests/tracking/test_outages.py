"""Against a real MLflow server behind a proxy that fails: nothing is lost, nothing comes twice, nothing waits."""

import fcntl
import json
import os
import shutil
import time

import mlflow
import pytest
from conftest import small_tree
from killed import Killed
from mlflow.entities import LoggedModelStatus
from proxy import Proxy
from servers import mlflow_server

from bss.cli import main
from bss.config import config_from_tree
from bss.errors import BssError
from bss.stages.compare import compare
from bss.stages.train import train
from bss.tracking import sender
from bss.tracking.execution import Execution, continue_execution
from bss.tracking.journal import Journal, spool_folder, unsent
from bss.tracking.replay import Replay
from bss.tracking.sender import require_sent
from bss.tracking.sync import sync
from bss.tracking.trial_run import TrialRun

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def server(empty_database, tmp_path_factory):
    with mlflow_server(tmp_path_factory.mktemp("server"), empty_database) as port:
        yield port


@pytest.fixture
def proxy(server, monkeypatch):
    with Proxy(("127.0.0.1", server)) as proxy:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://{proxy.address}")
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        monkeypatch.setattr(sender, "PATIENCE_SECONDS", 60.0)
        yield proxy


@pytest.fixture
def work(pipeline, small_root, small_store, tmp_path):
    """Train `uniform` with one seed into a folder of its own, and compare it; both by the experiment's name."""
    folder, _ = pipeline

    def config(experiment, **tracking):
        tree = small_tree(small_root) | {"seeds": [0]}
        tree["tracking"] = {"experiment": experiment, "models": "all", **tracking}
        tree["schedule"]["schedulers"] = {"uniform": {"kind": "uniform"}}
        tree["compare"] = {"resamples": 1000}
        return config_from_tree(tree, "params.yaml")

    def run(experiment, compared=True, **tracking):
        runs = tmp_path / experiment / "runs"
        train(config(experiment, **tracking), small_store, folder / "scores", folder / "plans", runs)
        if compared:
            report = runs.with_name("report")
            compare(config(experiment, **tracking), small_store, folder / "scores", runs, report)
        return runs

    return run


def recorded(server, experiment, work=None):
    """Return all that the server has of an experiment, without ids and times, by the name of the run."""
    client = mlflow.MlflowClient(f"http://127.0.0.1:{server}")
    found = client.get_experiment_by_name(experiment)
    runs = {}
    for run in client.search_runs([found.experiment_id] if found else []):
        tags = {name: value for name, value in run.data.tags.items() if name not in ("bss.record", PARENT)}
        history = {
            name: sorted((m.step, m.value) for m in client.get_metric_history(run.info.run_id, name))
            for name in run.data.metrics
        }
        models = [] if run.outputs is None else [output.model_id for output in run.outputs.model_outputs]
        parent = run.data.tags.get(PARENT)
        name = run.info.run_name
        assert name not in runs, f"{name} is there twice"
        params = {k: v for k, v in run.data.params.items() if k != "tracking.experiment"}
        runs[name] = {
            "tags": tags,
            "params": params,
            "metrics": history,
            "status": run.info.status,
            "files": sorted(files(client, run.info.run_id)),
            "models": len(models),
            "datasets": [entry.dataset.digest for entry in run.inputs.dataset_inputs],
            "parent": None if parent is None else client.get_run(parent).info.run_name,
        }
        for model in models:
            assert client.get_logged_model(model).status == LoggedModelStatus.READY
            assert "MLmodel" in {item.path for item in client.list_logged_model_artifacts(model)}
    if found is not None:
        assert len(client.search_logged_models([found.experiment_id])) == sum(run["models"] for run in runs.values())
    return runs


PARENT = "mlflow.parentRunId"


def files(client, run_id, path=None):
    for item in client.list_artifacts(run_id, path):
        if item.is_dir:
            yield from files(client, run_id, item.path)
        else:
            yield item.path, item.file_size


@pytest.fixture(scope="module")
def known():
    return {}


@pytest.fixture
def expected(server, proxy, work, known):
    """What an undisturbed execution leaves on the server."""
    if not known:
        assert not spool_folder(work("undisturbed")).exists()
        known.update(recorded(server, "undisturbed"))
        assert {name.partition(" ")[0]: run["parent"] for name, run in known.items() if "seed" not in name} == {
            "pipeline": None,
            "uniform": next(name for name in known if name.startswith("pipeline")),
        }
        assert known["uniform seed=0"]["parent"] == "uniform"
        assert len(known) == 3
        assert {run["status"] for run in known.values()} == {"FINISHED"}
    return known


def same(found, expected):
    """Compare records; the size of a file that holds times or the experiment's name may differ."""
    assert found.keys() == expected.keys()
    for name, run in found.items():
        left, right = (
            {**r, "files": [file for file, _ in r["files"]], "metrics": numbers(r["metrics"])}
            for r in (run, expected[name])
        )
        assert left == right


def numbers(metrics):
    return {name: values for name, values in metrics.items() if "seconds" not in name}


@pytest.mark.parametrize("failure", ["refuse", "stall"])
def test_a_server_that_is_gone_from_the_start_gets_everything_later(
    failure, server, proxy, work, expected, capsys, monkeypatch
):
    getattr(proxy, failure)()
    with monkeypatch.context() as patch:
        patch.setattr(sender, "PATIENCE_SECONDS", 1.0)
        runs = work(failure)
    shown = capsys.readouterr().out.replace("\n", " ")
    assert shown.count("does not answer") == 2  # reported once by each stage
    assert shown.count(f"bss sync --runs {runs}") == 2
    proxy.work()
    assert main(["sync", "--runs", str(runs)]) == 0
    same(recorded(server, failure), expected)
    assert not spool_folder(runs).exists()
    assert main(["sync", "--runs", str(runs)]) == 0
    same(recorded(server, failure), expected)


@pytest.mark.parametrize("failure", ["refuse", "stall"])
def test_a_server_that_goes_away_in_the_middle(failure, server, proxy, work, expected, monkeypatch):
    name = f"middle-{failure}"
    log_epoch = TrialRun.log_epoch
    monkeypatch.setattr(sender, "CYCLE_SECONDS", 0.01)

    def log_epoch_and_fail(self, row):
        log_epoch(self, row)
        if row["epoch"] == 1:
            while not self.journal.is_sent():
                time.sleep(0.01)
            getattr(proxy, failure)()
            monkeypatch.setattr(sender, "PATIENCE_SECONDS", 1.0)

    monkeypatch.setattr(TrialRun, "log_epoch", log_epoch_and_fail)
    runs = work(name, compared=False)
    opened = recorded(server, name)
    assert len(opened) == 2
    assert {run["status"] for run in opened.values()} == {"RUNNING"}
    proxy.work()
    sync(runs)
    found = recorded(server, name)
    (child,) = [run for run in found.values() if run["parent"] is not None]
    assert numbers(child["metrics"]) == numbers(expected["uniform seed=0"]["metrics"])
    assert {run["status"] for run in found.values()} == {"FINISHED"}


def test_a_database_that_another_process_holds_holds_up_no_stage(work, tmp_path, monkeypatch, capsys):
    place = tmp_path / "shared"
    place.mkdir()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{place}/mlflow.db")
    monkeypatch.setattr(sender, "LOCAL_PATIENCE_SECONDS", 1.0)
    holder = os.open(place, os.O_RDONLY)
    try:
        fcntl.flock(holder, fcntl.LOCK_EX)
        runs = work("held", compared=False)
    finally:
        os.close(holder)
    assert "does not answer (no answer for 1 seconds)" in capsys.readouterr().out.replace("\n", " ")
    assert len(unsent(spool_folder(runs))) == 2
    sync(runs)
    assert not spool_folder(runs).exists()


@pytest.mark.parametrize("moment", ["before the note", "before the call"])
def test_sync_is_killed_after_every_call(moment, server, proxy, work, expected, monkeypatch):
    name = f"killed-{moment.replace(' ', '-')}"
    proxy.refuse()
    runs = work(name)
    proxy.work()
    kills = 0
    for number in range(1, 100):
        calls = 0
        owner, method = (Journal, "write_sent") if moment == "before the note" else (Replay, "_apply")
        original = getattr(owner, method)

        def counted(*arguments, number=number, original=original):
            nonlocal calls
            calls += 1
            if calls == min(number, 3):
                raise Killed
            return original(*arguments)

        with monkeypatch.context() as patch:
            patch.setattr(owner, method, counted)
            try:
                sync(runs)
                break
            except Killed:
                kills += 1
    assert kills >= 5
    same(recorded(server, name), expected)


def test_connections_that_are_cut_in_the_middle_of_what_is_sent(server, proxy, work, expected):
    proxy.refuse()
    runs = work("cut")
    failures = 0
    for after in (100, 700, 3000, 20000):
        proxy.cut(after, sent=True, times=2)
        try:
            sync(runs)
        except BssError:
            failures += 1
    proxy.work()
    sync(runs)
    assert failures >= 2
    same(recorded(server, "cut"), expected)


def test_with_strict_a_server_that_goes_away_ends_the_training(proxy, work, monkeypatch):
    monkeypatch.setattr(sender, "CYCLE_SECONDS", 0.01)
    log_epoch = TrialRun.log_epoch

    def log_epoch_and_wait(self, row):
        proxy.refuse()  # first: what is sent already would not fail any more
        log_epoch(self, row)
        for _ in range(6000):
            if failed:
                return
            time.sleep(0.01)
        pytest.fail("the sender did not report the refusal within a minute")

    failed = []
    work_error = sender.Sender._report
    monkeypatch.setattr(sender.Sender, "_report", lambda self, error: (failed.append(1), work_error(self, error)))
    monkeypatch.setattr(TrialRun, "log_epoch", log_epoch_and_wait)
    with pytest.raises(BssError, match="does not answer"):
        work("strict", strict=True)


def test_a_request_that_arrives_late_leaves_no_second_run(server, proxy, work, expected):
    proxy.refuse()
    runs = work("late")
    first = unsent(spool_folder(runs))[0].read()[0][0]
    proxy.work()
    client = mlflow.MlflowClient(f"http://127.0.0.1:{server}")
    experiment = client.create_experiment("late")
    for _ in range(2):
        client.create_run(experiment, first["time"], {"bss.record": first["record"]}, first["name"])
    sync(runs)
    same(recorded(server, "late"), expected)


def test_a_run_that_was_deleted_meanwhile_is_made_again(server, proxy, work, expected, monkeypatch):
    end = Journal.append

    def append(self, op, **values):
        end(self, op, **values)
        if op == "end" and values["status"] == "FINISHED":
            proxy.refuse()

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "append", append)
        runs = work("deleted", compared=False)
    proxy.work()
    client = mlflow.MlflowClient(f"http://127.0.0.1:{server}")
    experiment = client.get_experiment_by_name("deleted")
    for run in client.search_runs([experiment.experiment_id] if experiment else []):
        client.delete_run(run.info.run_id)
    sync(runs)
    assert {run["status"] for run in recorded(server, "deleted").values()} == {"FINISHED"}
    assert recorded(server, "deleted").keys() == expected.keys() - {"uniform"}  # the summary comes with a comparison


def test_what_a_killed_process_has_not_finished_writing_is_no_line(tmp_path):
    journal = Journal.create(tmp_path)
    journal.append("tags", tags={"a": "1"})
    with (journal.folder / "journal.jsonl").open("ab") as file:
        file.write(b'{"op": "tags", "ta')
    assert [record["tags"] for record, _ in journal.read()] == [{"a": "1"}]
    journal.append("tags", tags={"b": "2"})
    assert [record["tags"] for record, _ in journal.read()] == [{"a": "1"}, {"b": "2"}]


def test_files_are_kept_as_they_were_when_the_run_ended(tmp_path):
    source = tmp_path / "metrics.json"
    source.write_text("old")
    journal = Journal.create(tmp_path / "spool")
    folder = journal.add_files({"metrics.json": source})
    new = tmp_path / "new"
    new.write_text("new")
    new.replace(source)
    assert (journal.folder / folder / "metrics.json").read_text() == "old"


def test_no_password_is_written_into_the_spool(work, monkeypatch, tmp_path):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    runs = work("password")
    written = [path.read_bytes() for path in (tmp_path / "password").rglob("*") if path.is_file()]
    assert written
    assert not any(b"secret" in content for content in written)
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    with pytest.raises(BssError, match="MLFLOW_TRACKING_URI: not set"):
        sync(runs)
    assert json.loads((runs / "mlflow.json").read_text())["execution"]["tracking_uri"].endswith("@127.0.0.1:9")
    shutil.rmtree(spool_folder(runs))
    sync(runs)


def test_a_record_that_is_refused_holds_up_no_other_run(database, tmp_path):
    spool = tmp_path / "spool"
    execution = Execution(database, "pets", "0" * 32, "pipeline")
    continue_execution(spool, execution)  # of a run that is not there
    run = TrialRun.start(spool, execution, "uniform seed=0", {}, {})
    run.journal.append("end", status="FINISHED")
    with pytest.raises(BssError, match=r"has no run pipeline any more.*Delete it to drop the record"):
        require_sent(spool, database)
    client = mlflow.MlflowClient(database)
    (found,) = client.search_runs([client.get_experiment_by_name("pets").experiment_id])
    assert found.info.status == "FINISHED"
    assert not run.journal.folder.exists()
