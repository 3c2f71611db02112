"""How many trials share a pod, and how long what Kubeflow passes on is then."""

import json
import subprocess
from types import SimpleNamespace

import pytest
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2 as pb

from bss.errors import BssError
from bss.files import digest_json, read_json
from bss.kubeflow.groups import MOST_GROUPS, group_size, group_trials, read_group
from bss.kubeflow.lists import LONGEST
from bss.kubeflow.parameters import stage_part
from bss.kubeflow.trials import collect_trials, list_trials, most_epochs, taught_strategies
from bss.stages.schedule import schedule
from bss.training import trial_folder
from bss.training.trial_spec import TrialId
from components.schedule.component import schedule as schedule_step
from components.train.component import train as train_step

MAX_ARG_STRLEN = 32 * 4096
"""Bytes of one argument of execve(2), its last zero among them: Linux, include/uapi/linux/binfmts.h."""


def trials(count):
    """As `list_trials` lists them, with names of a usual length."""
    names = [f"bss-l-exponential-{i:03d}" for i in range(10)]
    return [{"scheduler": names[i % 10], "seed": i // 10, "digest": digest_json(i)} for i in range(count)]


@pytest.mark.parametrize(
    ("count", "asked", "epoch_seconds", "epochs", "size"),
    [
        (72, 0, 0.5, 100, 72),  # 72 trials of 50 s take an hour
        (72, 0, 1.0, 100, 36),
        (72, 0, 60.0, 100, 1),  # longer than an hour
        (72, 0, None, 100, 1),  # not measured
        (10, 0, 0.001, 1, 10),  # never more than there are
        (2000, 0, 60.0, 100, 16),  # 125 pods
        (72, 8, 60.0, 100, 8),
        (2000, 16, None, 100, 16),
        (0, 0, None, 1, 1),
    ],
)
def test_a_pod_trains_about_an_hour_unless_asked_otherwise(count, asked, epoch_seconds, epochs, size):
    assert group_size(count, asked, epoch_seconds, epochs) == size


def test_more_pods_than_the_comparison_can_take_are_refused_before_they_train():
    assert group_size(MOST_GROUPS, 1, None, 1) == 1
    with pytest.raises(BssError, match="trials_per_pod: 1, but 129 trials need at least 2 per pod"):
        group_size(MOST_GROUPS + 1, 1, None, 1)


def test_groups_hold_every_training_once_and_in_order(tmp_path):
    listed = trials(23)
    groups = group_trials(listed, 5, tmp_path)
    assert [group["group"] for group in groups] == [0, 1, 2, 3, 4]
    assert [trial for group in groups for trial in read_group(tmp_path, **group)] == listed
    assert [len(read_group(tmp_path, **group)) for group in groups] == [5, 5, 5, 5, 3]


def test_students_of_a_seed_share_a_group_whatever_its_size(tmp_path):
    rows = ["none", "umt", "ogm", "g2d"]
    listed = [
        {"scheduler": "uniform", "seed": s, "strategy": row, "digest": f"{row}{s}"} for s in (0, 1) for row in rows
    ]

    def grouped(size, taught):
        groups = group_trials(listed, size, tmp_path, taught)
        return [[trial["digest"] for trial in read_group(tmp_path, **group)] for group in groups]

    taught = ["umt", "g2d"]
    assert grouped(1, taught) == [["none0"], ["ogm0"], ["umt0", "g2d0"], ["none1"], ["ogm1"], ["umt1", "g2d1"]]
    # A group of 3 takes the students of seed 0 as a whole; no more groups than without students.
    assert grouped(3, taught) == [["none0", "ogm0", "umt0", "g2d0"], ["none1", "ogm1", "umt1", "g2d1"]]
    assert grouped(8, taught) == [["none0", "ogm0", "umt0", "g2d0", "none1", "ogm1", "umt1", "g2d1"]]
    assert grouped(3, []) == [["none0", "umt0", "ogm0"], ["g2d0", "none1", "umt1"], ["ogm1", "g2d1"]]


def test_what_a_pod_trains_follows_from_the_strategies(tree, make_config):
    strategies = {"longer": {"kind": "longer", "times": 2.5}, "umt": {"kind": "umt"}, "ogm": {"kind": "ogm"}}
    tree |= {"strategies": strategies, "compare": {}, "combinations": ["uniform", "uniform+umt"]}
    config = make_config(tree)
    assert most_epochs(config) == config.train.epochs == 3  # longer is not trained
    assert taught_strategies(config) == ["umt"]
    assert most_epochs(make_config(tree | {"combinations": ["uniform", "uniform+longer"]})) == 8


def test_a_seed_more_leaves_the_full_groups_as_they_are(tmp_path):
    before, after = group_trials(trials(20), 5, tmp_path), group_trials(trials(30), 5, tmp_path)
    assert after[:4] == before


def test_groups_of_another_run_are_refused(tmp_path):
    group_trials(trials(4), 2, tmp_path)
    for group in (0, 2, -1):
        with pytest.raises(BssError, match=f"has no group {group} of digest 000000000000"):
            read_group(tmp_path, group, "0" * 64)


def argument_of_compare(groups):
    """What the driver gives the step compare: its ExecutorInput as JSON.

    Lines of kubeflow/pipelines at tag 2.17.0, below backend/src/v2:

    - driver/driver.go:280 and :326 (`initPodSpecPatch`): protojson makes it the launcher's argument --executor_input;
    - component/launcher_v2.go:1054-1061 (`compileCmdAndArgs`): the launcher makes it JSON again, in the place of {{$}}
      in the step's own command;
    - metadata/converter.go:186-192 (`toRuntimeArtifact`): the name of an artifact is its id in ML Metadata, an int64;
      its metadata are all of its properties;
    - metadata/client.go:245-257 (`ToRuntimeArtifact`): its type;
    - metadata/client.go:1234-1250 (`RecordArtifact`): display_name and store_session_info are among the properties.
    """
    run, pod = "11111111-2222-3333-4444-555555555555", "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"
    session = {
        "Provider": "minio",
        "Params": {
            "accessKeyKey": "accesskey",
            "disableSSL": "true",
            "endpoint": "seaweedfs.kubeflow.svc.cluster.local:9000",
            "fromEnv": "false",
            "region": "minio",
            "secretKeyKey": "secretkey",
            "secretName": "mlpipeline-minio-artifact",
        },
    }
    executor_input = pb.ExecutorInput()
    for _ in range(groups):
        artifact = executor_input.inputs.artifacts["models"].artifacts.add()
        artifact.name = "9223372036854775807"
        artifact.type.schema_title, artifact.type.schema_version = "system.Model", "0.0.1"
        artifact.uri = f"minio://mlpipeline/private-artifacts/a-long-namespace/v2/artifacts/bss/{run}/train/{pod}/model"
        artifact.metadata.update(
            {
                "framework": "pytorch",
                "trainings": 16,
                "display_name": "model",
                "store_session_info": json.dumps(session),
            }
        )
    parameters = {"parameters": "p" * 8000, "data": "d" * 500, "mlflow_tracking_uri": "http://mlflow.mlflow.svc:5000"}
    for name, value in parameters.items():
        executor_input.inputs.parameter_values[name].string_value = value
    return json_format.MessageToJson(executor_input, indent=None)


def starts(argument):
    """Whether Linux starts a program with this argument."""
    try:
        return subprocess.run(["true", argument], check=False).returncode == 0
    except OSError:
        return False


@pytest.mark.process
def test_two_thousand_trainings_fit_into_what_kubeflow_passes_on(tmp_path):
    size = group_size(2000, 0, 60.0, 100)
    groups = group_trials(trials(2000), size, tmp_path)
    assert len(groups) == 125
    assert len(json.dumps(groups)) < LONGEST  # the list over which the trials fan out
    argument = argument_of_compare(len(groups))
    assert 90_000 < len(argument) < MAX_ARG_STRLEN  # 91,286 bytes: 661 for each artifact
    assert len(argument_of_compare(MOST_GROUPS)) < MAX_ARG_STRLEN
    assert starts(argument_of_compare(MOST_GROUPS))
    assert not starts(argument_of_compare(2000))  # as an artifact each, they would not


def test_the_step_schedule_groups_by_the_longest_training_and_by_teachers(
    pipeline, small_store, tree, make_config, tmp_path
):
    strategies = {"longer": {"kind": "longer", "times": 2.5}, "umt": {"kind": "umt"}}
    rows = ["uniform+umt", "uniform", "uniform+longer", "bss-h+umt"]
    tree |= {"seeds": [0], "strategies": strategies, "combinations": rows, "compare": {}}
    part = SimpleNamespace(path=str(pipeline[0] / "scores"), metadata={"epoch_seconds": 250})
    plans = SimpleNamespace(path=str(tmp_path / "plans"), metadata={})
    groups = schedule_step.python_func(
        parameters=stage_part(make_config(tree), "schedule"),
        store_digest="",
        scores_digests=[],
        trials_per_pod=0,
        store=SimpleNamespace(path=str(small_store)),
        measured=[part],
        scores=SimpleNamespace(path=str(tmp_path / "scores")),
        plans=plans,
        summary=SimpleNamespace(path=str(tmp_path / "summary.md")),
    )
    listed = [read_group(tmp_path / "plans", **group) for group in groups]
    found = [[TrialId(t["scheduler"], 0, t.get("strategy", "none")).row for t in group] for group in listed]
    # A trial of 8 epochs takes 2000 s, so that a pod trains one; of 3 epochs, all four would fit.
    assert found == [["uniform"], ["uniform+longer"], ["uniform+umt", "bss-h+umt"]]


def test_a_step_trains_the_teachers_of_a_seed_once(pipeline, small_store, tree, make_config, tmp_path, monkeypatch):
    folder, _ = pipeline
    strategies = {"umt": {"kind": "umt"}, "g2d": {"kind": "g2d"}}
    tree |= {"seeds": [0], "strategies": strategies, "combinations": ["uniform+umt", "uniform+g2d"]}
    tree["compare"] = {"baseline": "uniform+umt", "control": None, "resamples": 1000}
    config = make_config(tree)
    schedule(config, small_store, folder / "scores", tmp_path / "plans")
    (group,) = group_trials(list_trials(config, small_store, tmp_path / "plans"), 2, tmp_path / "plans")
    trained, into = [], trial_folder.train_trial
    monkeypatch.setattr(
        trial_folder, "train_trial", lambda *given, **more: trained.append(given[3]) or into(*given, **more)
    )
    train_step.python_func(
        **group,
        mlflow_tracking_uri="",
        image="none",
        store=SimpleNamespace(path=str(small_store)),
        scores=SimpleNamespace(path=str(folder / "scores")),
        plans=SimpleNamespace(path=str(tmp_path / "plans")),
        model=SimpleNamespace(path=str(tmp_path / "model"), metadata={}),
        metrics=SimpleNamespace(path=str(tmp_path / "metrics"), log_metric=lambda name, value: None),
    )
    assert len(trained) == 3  # the teachers, and their two students
    steps = [read_json(path, "train")["steps"] for path in sorted((tmp_path / "model").glob("*/*/metrics.json"))]
    assert steps == [2 * 3 * 3] * 2  # each counts the teachers' in full: 3 epochs of 3 batches, as many as its own
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("tmp")] == []


def test_a_step_trains_its_group_into_one_artifact(pipeline, small_store, tree, make_config, tmp_path, monkeypatch):
    folder, config = pipeline
    plans = tmp_path / "plans"
    plans.mkdir()
    for path in (folder / "plans").iterdir():
        (plans / path.name).symlink_to(path)
    config = make_config(tree | {"tracking": {"enabled": False}})
    listed = list_trials(config, small_store, plans)
    groups = group_trials(listed, 2, plans)
    logged = {}
    model = SimpleNamespace(path=str(tmp_path / "model"), metadata={})
    train_step.python_func(
        **groups[0],
        mlflow_tracking_uri="",
        image="none",
        store=SimpleNamespace(path=str(small_store)),
        scores=SimpleNamespace(path=str(folder / "scores")),
        plans=SimpleNamespace(path=str(plans)),
        model=model,
        metrics=SimpleNamespace(path=str(tmp_path / "metrics"), log_metric=logged.__setitem__),
    )
    names = [f"{trial['scheduler']}/seed={trial['seed']}" for trial in listed[:2]]
    found = sorted(path.relative_to(model.path).as_posix() for path in (tmp_path / "model").glob("*/seed=*"))
    assert found == sorted(names)
    assert list((tmp_path / "model").rglob("mlflow.json")) == []
    assert model.metadata == {"framework": "pytorch", "trainings": 2}
    collect_trials([tmp_path / "model"], tmp_path / "runs")
    for name in names:
        trained, expected = tmp_path / "runs" / name / "metrics.json", folder / "runs" / name / "metrics.json"
        assert trained.read_text() == expected.read_text()
        assert logged[f"{name} test/acc"] == json.loads(expected.read_text())["test/acc"]
