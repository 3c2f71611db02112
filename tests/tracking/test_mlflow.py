"""Against a real MLflow: a database in a folder, and a server."""

import csv
import json
import multiprocessing
import os
import re
from math import isnan
from pathlib import Path

import mlflow
import numpy as np
import pytest
from conftest import small_tree
from servers import free_port, mlflow_server

from bss.config import config_from_tree
from bss.data.store import Store
from bss.errors import BssError
from bss.models.inputs.waveforms import read_filled
from bss.remote.fetch import DataVersion
from bss.report.markdown import markdown_comparison
from bss.stages.audit import audit
from bss.stages.compare import compare
from bss.stages.train import train
from bss.tracking.dvc_lock import dvc_digest
from bss.tracking.execution import Execution, log_inputs, open_execution
from bss.tracking.replay import Replay
from bss.tracking.sender import require_sent
from bss.tracking.trial_run import TrialRun

pytestmark = pytest.mark.slow


def tracked_config(small_root, **changes):
    tree = small_tree(small_root)
    tree["tracking"] = {"models": "first-seed"}
    tree["audit"] = {"folds": 2, "seeds": [0], "epochs": 1}
    tree["schedule"]["schedulers"] = {
        name: tree["schedule"]["schedulers"][name] for name in ("uniform", "control", "bss-l-online")
    }
    return config_from_tree(tree | changes, "params.yaml")


@pytest.fixture(scope="module")
def tracked(pipeline, small_root, small_store, tmp_path_factory):
    """A client and the parent run after training and comparison with the default database."""
    folder, _ = pipeline
    work = tmp_path_factory.mktemp("work")
    before = Path.cwd()
    os.chdir(work)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.delenv("MLFLOW_TRACKING_URI", raising=False)
            config = tracked_config(small_root)
            train(config, small_store, folder / "scores", folder / "plans", work / "runs")
            audit(config, small_store, work / "audit")
            paths = (folder / "scores", work / "runs", work / "report")
            compare(config, small_store, *paths, audit=work / "audit")
        client = mlflow.MlflowClient(f"sqlite:///{work}/mlflow.db")
        experiment = client.get_experiment_by_name(Store.open(small_store).name)
        runs = client.search_runs([experiment.experiment_id])
        (parent,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
        yield client, parent, [run for run in runs if run.data.tags["bss.kind"] == "trial"], work
    finally:
        os.chdir(before)


def artifacts(client, run, path=None):
    return {item.path for item in client.list_artifacts(run.info.run_id, path)}


def summaries(client, parent):
    """The runs of the schedulers, by their names."""
    runs = client.search_runs([parent.info.experiment_id], "tags.`bss.kind` = 'summary'")
    return {run.info.run_name: run for run in runs}


def test_a_run_per_training_under_that_of_its_scheduler_under_one_parent(tracked):
    client, parent, children, _ = tracked
    above = summaries(client, parent)
    assert sorted(above) == ["bss-l-online", "control", "uniform"]
    assert {run.data.tags["mlflow.parentRunId"] for run in above.values()} == {parent.info.run_id}
    assert len(children) == 6
    for child in children:
        assert child.data.tags["mlflow.parentRunId"] == above[child.data.tags["scheduler"]].info.run_id
    assert {(c.data.tags["scheduler"], c.data.tags["seed"]) for c in children} >= {
        ("uniform", "0"),
        ("bss-l-online", "1"),
    }
    assert {run.info.status for run in [parent, *children]} == {"FINISHED"}


def test_parameters_are_flat_and_tags_tell_what_made_the_run(tracked, small_store):
    _, parent, children, work = tracked
    assert parent.data.params["train.epochs"] == "3"
    path = mlflow.artifacts.download_artifacts(
        run_id=parent.info.run_id, artifact_path="params.json", tracking_uri=f"sqlite:///{work}/mlflow.db"
    )
    assert json.loads(Path(path).read_text())["prepare"]["modalities"]["audio"]["sample_rate"] == 4000
    child = next(c for c in children if c.data.tags["scheduler"] == "bss-l-online")
    assert child.data.params["scheduler.beta"] == "0.6"
    assert parent.data.tags["bss.store_digest"] == Store.open(small_store).digest
    for tag in ("bss.commit", "bss.code_digest", "bss.version", "bss.protocol"):
        assert parent.data.tags[tag]


def test_every_useful_number_of_the_history_is_a_metric_of_its_epoch(tracked):
    client, _, children, work = tracked
    for child in children:
        trial = work / "runs" / child.data.tags["scheduler"] / f"seed={child.data.tags['seed']}"
        with (trial / "history.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        for name in ("train/loss", "val/acc", "val/acc_vector", "val/f1_macro", "balance/gap", "schedule/fraction"):
            found = sorted((m.step, m.value) for m in client.get_metric_history(child.info.run_id, name))
            assert found == [(int(row["epoch"]), float(row[name])) for row in rows]
        final = json.loads((trial / "metrics.json").read_text())
        for name in ("test_acc", "val_acc"):
            (found,) = client.get_metric_history(child.info.run_id, name)
            assert (found.step, found.value) == (0, final[name.replace("_", "/")])


def test_artifacts_hold_scores_plans_sequences_and_the_report(tracked):
    client, parent, children, _ = tracked
    assert {"scores", "plans", "store", "report", "params.json"} <= artifacts(client, parent)
    assert "report/report.html" in artifacts(client, parent, "report")
    assert "store/skipped.csv" in artifacts(client, parent, "store")
    names = ("audit.csv", "audit.html", "audit.json", "audit.parquet")
    assert artifacts(client, parent, "audit") == {f"audit/{name}" for name in names}
    for child in children:
        assert {"history.csv", "metrics.json", "sequences.parquet", "predictions.parquet"} <= artifacts(client, child)


SUMMARY = {"test_acc", "diff_vs_uniform", "ci_low", "ci_high", "p", "steps", "seconds"}


def test_a_scheduler_has_the_same_few_metrics_and_the_baseline_no_difference_to_itself(tracked):
    client, parent, _, work = tracked
    comparison = json.loads((work / "report" / "comparison.json").read_text())
    seconds = json.loads((work / "report" / "times.json").read_text())
    found = summaries(client, parent)
    assert set(found["uniform"].data.metrics) == {"test_acc", "steps", "seconds"}
    assert "verdict" not in found["uniform"].data.tags
    for name in ("control", "bss-l-online"):
        entry = comparison["schedulers"][name]
        difference = entry["vs_baseline"]["test_acc"]
        right = {
            "test_acc": entry["test_acc"]["mean"],
            "diff_vs_uniform": difference["difference"],
            "ci_low": difference["low"],
            "ci_high": difference["high"],
            "p": difference["p_corrected"],
            "steps": entry["steps"]["mean"],
            "seconds": seconds[name],
        }
        assert found[name].data.metrics == pytest.approx(right, abs=0.00005)
        assert found[name].data.tags["verdict"] == "inconclusive"  # of two seeds


def test_the_table_of_runs_has_at_most_forty_columns_and_the_pipeline_no_metric(tracked):
    client, parent, _, _ = tracked
    assert parent.data.metrics == {}
    columns = set()
    for run in client.search_runs([parent.info.experiment_id]):
        columns |= {("metric", name) for name in run.data.metrics} | {("param", name) for name in run.data.params}
        columns |= {("tag", name) for name in run.data.tags if not name.startswith("mlflow.")}
    assert {("metric", name) for name in SUMMARY} < columns
    assert len(columns) <= 40, sorted(columns)


def test_the_description_is_the_verdict_with_the_table_and_the_rest_is_a_table_of_mlflow(tracked):
    client, parent, _, work = tracked
    comparison = json.loads((work / "report" / "comparison.json").read_text())
    text = parent.data.tags["mlflow.note.content"]
    assert text.startswith("Seeds: 2, too few for a verdict, which needs at least 6.")
    assert text.endswith(markdown_comparison(comparison))
    mlflow.set_tracking_uri(f"sqlite:///{work}/mlflow.db")  # load_table searches there, whatever the client
    table = client.load_table(parent.info.experiment_id, "schedulers.json", [parent.info.run_id])
    table = table.set_index("scheduler")
    assert list(table.index) == ["uniform", "control", "bss-l-online"]
    right = comparison["schedulers"]["control"]["test_acc"]["mean"]
    assert table["test_acc_mean"]["control"] == pytest.approx(right)  # pandas reads the last digit otherwise
    assert isnan(table["vs_baseline_test_acc_p"]["uniform"])


def test_a_second_comparison_changes_the_runs_of_the_first(tracked, pipeline, small_root, small_store):
    client, parent, _, work = tracked
    before = {name: run.info.run_id for name, run in summaries(client, parent).items()}
    compare(tracked_config(small_root), small_store, pipeline[0] / "scores", work / "runs", work / "report")
    assert {name: run.info.run_id for name, run in summaries(client, parent).items()} == before
    assert client.get_run(parent.info.run_id).data.tags["mlflow.note.content"].count("| uniform |") == 1


def test_every_run_has_user_source_commit_and_dataset(tracked, small_store):
    client, parent, _, _ = tracked
    runs = client.search_runs([parent.info.experiment_id])
    assert len(runs) == 10
    for run in runs:
        assert run.data.tags["mlflow.user"] == run.info.user_id != "unknown"
        assert run.data.tags["mlflow.source.name"] == "bss"
        assert run.data.tags["mlflow.source.git.commit"] == parent.data.tags["bss.commit"]
        (entry,) = run.inputs.dataset_inputs
        assert (entry.dataset.name, entry.dataset.digest) == (
            Store.open(small_store).name,
            Store.open(small_store).digest[:36],
        )


def test_the_dataset_is_an_input_with_its_digest(tracked, small_store):
    _, parent, _, _ = tracked
    (entry,) = parent.inputs.dataset_inputs
    assert entry.dataset.name == Store.open(small_store).name
    assert Store.open(small_store).digest.startswith(entry.dataset.digest)


def test_the_model_loads_and_predicts_from_its_input_example(tracked, small_store):
    _, _, children, work = tracked
    mlflow.set_tracking_uri(f"sqlite:///{work}/mlflow.db")
    logged = [c for c in children if c.outputs and c.outputs.model_outputs]
    assert {c.data.tags["seed"] for c in logged} == {"0"}
    child = next(c for c in logged if c.data.tags["scheduler"] == "bss-l-online")
    uri = f"models:/{child.outputs.model_outputs[0].model_id}"
    folder = mlflow.artifacts.download_artifacts(uri)
    files = {name for _, _, names in os.walk(folder) for name in names}
    assert not [name for name in files if name.endswith(".pkl")]
    model = mlflow.pyfunc.load_model(uri)
    predicted = model.predict(model.input_example)
    store = Store.open(small_store)
    rows = store.rows("test")[:2]
    for name in store.modalities:
        np.testing.assert_array_equal(np.asarray(model.input_example[name]), read_filled(store, name, rows))
    from bss.data.tables import read_table

    saved = read_table(work / "runs" / "bss-l-online" / "seed=0" / "predictions.parquet", "train")
    assert predicted["label"].tolist() == [store.classes[i] for i in saved["predicted"].to_pylist()[:2]]
    assert predicted["probability"].between(1 / 3, 1).all()
    assert set(predicted["predicted_audio"]) <= set(store.classes)


def test_the_example_of_the_docs_finds_a_model_and_predicts_what_the_training_did(tracked, small_store, monkeypatch):
    text = (Path(__file__).parents[2] / "docs" / "predict.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, flags=re.S)
    work = tracked[3]
    monkeypatch.chdir(work)
    assert "'bss-l'" in code
    assert "outputs/store" in code
    code = code.replace("'bss-l'", "'bss-l-online'").replace("outputs/store", str(small_store))
    names = {}
    exec(compile(code, "docs/predict.md", "exec"), names)
    from bss.data.tables import read_table

    classes = Store.open(small_store).classes
    saved = read_table(work / "runs" / "bss-l-online" / "seed=0" / "predictions.parquet", "train")
    table = names["table"]
    assert table["label"].tolist() == [classes[i] for i in saved["predicted"].to_pylist()]
    assert table["predicted_audio"].tolist() == [classes[i] for i in saved["predicted_audio"].to_pylist()]
    assert table["confidence_audio"].between(1 / 3, 1).all()
    assert [column.name for column in names["model"].metadata.signature.outputs.inputs] == list(table.columns)


def test_metrics_go_in_batches_not_one_by_one(database, tmp_path, monkeypatch):
    execution = Execution(database, "pets", "0" * 32, "pipeline")
    run = TrialRun.start(tmp_path / "spool", execution, "uniform seed=0", {"a": 1}, {})
    for epoch in range(50):
        run.log_epoch({"epoch": epoch, "train/loss": 1.0, "val/acc": 0.5, "balance/score_mean": None})
    replay = Replay(execution.tracking_uri)
    calls = []
    log_batch = replay.client.log_batch

    def counting(run_id, **entities):
        calls.append(entities)
        log_batch(run_id, **entities)

    monkeypatch.setattr(replay.client, "log_batch", counting)
    replay.send(run.journal)
    assert [len(call["metrics"]) for call in calls if "metrics" in call] == [100]


def write_runs(uri, experiment, folder, names):
    execution = Execution(uri, experiment, "0" * 32, "pipeline")
    for name in names:
        run = TrialRun.start(folder, execution, name, {"a": 1}, {})
        for epoch in range(20):
            run.log_epoch({"epoch": epoch, "x": float(epoch)})
            require_sent(folder, uri)
        run.journal.append("end", status="FINISHED")
        require_sent(folder, uri)


@pytest.mark.process
def test_two_processes_write_into_one_database_at_once(tmp_path):
    uri = f"sqlite:///{tmp_path}/shared.db"
    context = multiprocessing.get_context("spawn")
    names = {k: [f"{k}-{i}" for i in range(5)] for k in "ab"}
    processes = [context.Process(target=write_runs, args=(uri, "shared", tmp_path / k, names[k])) for k in names]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    client = mlflow.MlflowClient(uri)
    runs = client.search_runs([client.get_experiment_by_name("shared").experiment_id])
    assert sorted(run.info.run_name for run in runs) == sorted(names["a"] + names["b"])
    for run in runs:
        assert run.info.status == "FINISHED"
        assert sorted(m.step for m in client.get_metric_history(run.info.run_id, "x")) == list(range(20))


@pytest.fixture(scope="module")
def server(empty_database, tmp_path_factory):
    with mlflow_server(tmp_path_factory.mktemp("server"), empty_database) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.mark.process
def test_a_server_gets_the_same_records(server, pipeline, small_root, small_store, tmp_path, monkeypatch):
    folder, _ = pipeline
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    monkeypatch.chdir(tmp_path)
    config = tracked_config(small_root)
    trials = [("bss-l-online", 0)]
    train(config, small_store, folder / "scores", folder / "plans", tmp_path / "runs", trials)
    client = mlflow.MlflowClient(server)
    experiment = client.get_experiment_by_name(Store.open(small_store).name)
    parent, child = sorted(
        client.search_runs([experiment.experiment_id]), key=lambda run: "mlflow.parentRunId" in run.data.tags
    )
    assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert "sequences.parquet" in artifacts(client, child)
    assert not (tmp_path / "mlflow.db").exists()


def test_a_failed_training_is_marked_and_its_parent_too(
    database, pipeline, small_root, small_store, tmp_path, monkeypatch
):
    folder, _ = pipeline
    monkeypatch.setenv("MLFLOW_TRACKING_URI", database)
    tree = small_tree(small_root) | {"tracking": {"experiment": "failing"}}
    tree["train"]["optimiser"]["learning_rate"] = 1e18
    config = config_from_tree(tree, "params.yaml")
    with pytest.raises(BssError, match="diverged"):
        train(config, small_store, folder / "scores", folder / "plans", tmp_path / "runs", [("uniform", 0)])
    client = mlflow.MlflowClient(database)
    runs = client.search_runs([client.get_experiment_by_name("failing").experiment_id])
    assert [run.info.status for run in runs] == ["FAILED", "FAILED"]


@pytest.mark.process
def test_with_strict_a_server_that_does_not_answer_is_told_before_anything_is_trained(
    pipeline, small_root, small_store, tmp_path, monkeypatch, capsys
):
    folder, _ = pipeline
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:secret@127.0.0.1:{free_port()}")
    arguments = (small_store, folder / "scores", folder / "plans", tmp_path / "runs")
    with pytest.raises(BssError) as caught:
        train(tracked_config(small_root, tracking={"strict": True}), *arguments)
    assert "does not answer" in str(caught.value)
    assert "tracking.enabled: false" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert not list(tmp_path.rglob("metrics.json"))
    shown = capsys.readouterr()
    assert "Work continues" not in shown.out + shown.err
    assert "bss sync" not in shown.out + shown.err


def test_a_fetched_dataset_is_logged_with_its_version_and_without_passwords(database, pipeline, small_store, tmp_path):
    folder, config = pipeline
    version = DataVersion("https://me:secret@example.org/data.git", "c" * 40, "data/pets", "0123.dir")
    execution, journal = open_execution(tmp_path / "spool", config, "pets", database, {})
    log_inputs(journal, config, Store.open(small_store), folder / "scores", folder / "plans", version)
    journal.append("end", status="FINISHED")
    require_sent(tmp_path / "spool", database)
    client = mlflow.MlflowClient(database)
    (run,) = client.search_runs([client.get_experiment_by_name(execution.experiment).experiment_id])
    assert run.info.status == "FINISHED"
    (found,) = run.inputs.dataset_inputs
    assert found.dataset.digest == "0123.dir"
    assert json.loads(found.dataset.source) == vars(version) | {"repository": "https://***@example.org/data.git"}


def test_the_digest_of_the_data_comes_from_dvc_where_it_has_one(tmp_path):
    lock = tmp_path / "dvc.lock"
    assert dvc_digest(lock, "data/digits") is None
    lock.write_text("stages:\n  prepare:\n    deps:\n    - path: data/digits\n      md5: abc.dir\n")
    assert dvc_digest(lock, "data/digits") == "abc.dir"
    assert dvc_digest(lock, "data/other") is None
