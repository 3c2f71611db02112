"""`bss submit --wait`: what is printed while a run goes its way, and the exit status in the end."""

import base64
import gzip
import json

import pytest
from kubeflow_server import RUN_ID, Server, serve
from submitting import in_project, submit  # noqa: F401  a fixture
from workflows import LOOPS, NAME, ROOT, pod_name, step, workflow

from bss.config import BUILTIN, load_config
from bss.config.combinations import combinations_of
from bss.console import make_console
from pipelines.endpoint import Endpoint
from pipelines.run_steps import find_steps, iterations, read_workflow
from pipelines.wait import ContactLostError, wait

pytestmark = pytest.mark.process
NAMES = {"measure": ["seed 0", "seed 1"], "train": ["uniform seed 0", "bss-l seed 0"]}


def printed(capsys):
    """The lines behind the first, without their time."""
    return [line.strip().split("  ", 1)[-1] for line in capsys.readouterr().out.splitlines()[1:]]


def followed(states, names=NAMES, **settings):
    """The exit status of waiting for a run that goes through `states`."""
    server = Server(states=states)
    for name, value in settings.items():
        setattr(server, name, value)
    with serve(server) as address:
        return wait(Endpoint(address), RUN_ID, make_console(), 0.001, names)


def test_each_step_is_printed_when_it_changes_with_scheduler_and_seed(capsys):
    start = step("start", "Succeeded", started="1")
    measured = [step("measure", "Succeeded", i, cached=i == 0, started="2") for i in range(2)]
    loops = {"measure": 2, "train": 2}

    def trained(first, second):
        trials = [{"scheduler": "uniform", "seed": 0}, {"scheduler": "random-ranking", "seed": 0}]
        return [step("train", phase, i, trials[i], started=f"3{i}") for i, phase in enumerate((first, second))]

    steps = [
        ("RUNNING", workflow(step("start", "Running", started="1"))),
        ("RUNNING", workflow(start, *measured, *trained("Pending", "Running"), iterations=loops)),
        ("RUNNING", workflow(start, *measured, *trained("Running", "Running"), iterations=loops)),
        ("RUNNING", workflow(start, *measured, *trained("Succeeded", "Running"), iterations=loops)),
        ("SUCCEEDED", workflow(start, *measured, *trained("Succeeded", "Succeeded"), iterations=loops)),
    ]
    options = ["--seed", "0", "--seed", "1", "--scheduler", "uniform", "--scheduler", "random-ranking"]
    with serve(Server(states=steps)) as address:
        assert submit(address, "--wait", *options) == 0
    assert printed(capsys) == [
        "start: running",
        "start: succeeded",
        "measure seed 0: reused",
        "measure seed 1: succeeded",
        "train uniform seed 0: pending",
        "train random-ranking seed 0: running",
        "train uniform seed 0: running",
        "train uniform seed 0: succeeded",
        "train random-ranking seed 0: succeeded",
        f"run {RUN_ID}: succeeded",
    ]


def test_a_failure_gives_the_tasks_own_error_and_the_command_for_its_log(capsys):
    trial = {"scheduler": "bss-l", "seed": 1.0}  # numbers of the API are all floating-point
    failed = step("train", "Failed", 3, trial, ("OOMKilled (exit code 137)", "OOMKilled (exit code 137)"), started="2")
    handled = step("finish", "Succeeded", started="3", place=f"{ROOT}.onExit")
    path = f"{ROOT}.{LOOPS['train']}.iteration-iterations(3:3).iteration-item.train.executor(1)"
    assert followed([("FAILED", workflow(failed, handled, iterations={"train": 5}))]) == 1
    assert [line.strip().split("  ", 1)[-1] for line in capsys.readouterr().out.splitlines()] == [
        "train bss-l seed 1: failed, try 2",
        "finish: succeeded",
        f"run {RUN_ID}: failed",
        f"train bss-l seed 1 failed: OOMKilled (exit code 137). Its log: kubectl logs -n team {pod_name(path)} -c main",
    ]


def test_a_try_that_failed_before_one_that_succeeded_explains_nothing(capsys):
    recovered = step("prepare", "Succeeded", tries=("Error (exit code 1)", ""), started="1")
    failed = step("schedule", "Failed", tries=("Error (exit code 1)",), started="2")
    assert followed([("FAILED", workflow(recovered, failed))]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert any("prepare: succeeded, try 2" in line for line in lines)
    assert [line for line in lines if "kubectl logs" in line] == [lines[-1]]
    assert "schedule failed: Error (exit code 1)" in lines[-1]


def test_a_driver_that_fails_is_named_by_its_step(capsys):
    made = step("train", "Pending", 0, {"scheduler": "bss-l", "seed": 0}, started="2")
    (driver,) = [node for name, node in made.items() if name.endswith("train-driver")]
    driver |= {"phase": "Error", "message": "Unable to read\nthe secret", "templateName": "system-container-driver"}
    assert followed([("FAILED", workflow(made, iterations={"train": 2}))]) == 1
    assert "train bss-l seed 0 failed: Unable to read the secret. Its log: kubectl logs" in capsys.readouterr().out


def test_why_a_pod_is_pending_is_printed_once(capsys):
    why = ["", "ContainerCreating", "Unschedulable: 0/3 nodes are available", "Unschedulable: 0/4 nodes are available"]
    pending = [("RUNNING", workflow(step("prepare", "Pending", tries=(reason,)))) for reason in why]
    states = [("PENDING", []), ("PENDING", []), *pending, ("SUCCEEDED", workflow(step("prepare", "Succeeded")))]
    assert followed(states) == 0
    assert [line.strip().split("  ", 1)[-1] for line in capsys.readouterr().out.splitlines()] == [
        f"run {RUN_ID}: pending",
        "prepare: pending",
        "prepare: pending (Unschedulable: 0/3 nodes are available)",
        "prepare: succeeded",
        f"run {RUN_ID}: succeeded",
    ]


def test_a_failed_try_is_printed_with_its_reason(capsys):
    ended = step("prepare", "Running", tries=("OOMKilled (exit code 137)",))
    (pod,) = [node for node in ended.values() if node["type"] == "Pod" and "executor" in node["name"]]
    pod["phase"] = "Failed"
    again = step("prepare", "Running", tries=("OOMKilled (exit code 137)", ""))
    states = [("RUNNING", workflow(ended)), ("RUNNING", workflow(again))]
    assert followed([*states, ("SUCCEEDED", workflow(step("prepare", "Succeeded", tries=("x", ""))))]) == 0
    assert [line.strip().split("  ", 1)[-1] for line in capsys.readouterr().out.splitlines()] == [
        "prepare: failed, will be tried again (OOMKilled (exit code 137))",
        "prepare: running, try 2",
        "prepare: succeeded, try 2",
        f"run {RUN_ID}: succeeded",
    ]


def test_many_failures_are_counted(capsys):
    steps = [step("train", "Failed", i, tries=(f"reason {i}",), started=str(i)) for i in range(8)]
    assert followed([("FAILED", workflow(*steps, iterations={"train": 8}))]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert sum("Its log:" in line for line in lines) == 5
    assert "train 1 of 8 failed: reason 0" in lines[-6]
    assert lines[-1].endswith("... and 3 more")


@pytest.mark.parametrize("state", ["FAILED", "CANCELED"])
def test_a_run_that_does_not_succeed_has_status_1(state, capsys):
    with serve(Server(states=[(state, [("train", "FAILED")])])) as address:
        assert submit(address, "--wait") == 1
    output = capsys.readouterr().out
    assert f"run {RUN_ID}: {state.lower()}" in output
    assert ("a step has failed" in output) == (state == "FAILED")


def test_several_trainings_of_one_pod_are_named():
    trials = [{"scheduler": "bss-l", "seed": seed} for seed in range(5)]
    for given, label in (
        (trials[:2], "train bss-l seed 0, bss-l seed 1"),
        (trials, "train bss-l seed 0, bss-l seed 1, bss-l seed 2 and 2 more"),
    ):
        for values in ({"trials": given}, {"trials": json.dumps(given)}):
            found = read_workflow(json.dumps(workflow(step("train", "Running", 0, values), iterations={"train": 3})))
            assert [one.label for one in find_steps(found, NAMES)] == [label]


@pytest.mark.parametrize(
    ("values", "label"),
    [
        ({"parameters": '{"seeds": [7]}'}, "measure seed 7"),
        ({"parameters": "no JSON"}, "measure seed 1"),
        ({}, "measure seed 1"),
    ],
)
def test_a_measuring_is_named_by_its_seed(values, label):
    found = read_workflow(json.dumps(workflow(step("measure", "Running", 1, values), iterations={"measure": 2})))
    assert [one.label for one in find_steps(found, NAMES)] == [label]


def test_shards_are_numbered():
    values = {"shard": 2, "shards": 16, "parameters": "{}"}
    found = read_workflow(json.dumps(workflow(step("prepare", "Running", 2, values), iterations={"prepare": 16})))
    assert [one.label for one in find_steps(found, NAMES)] == ["prepare shard 3 of 16"]


def test_the_iterations_are_in_the_order_of_the_pipeline():
    config = load_config(BUILTIN, ["seeds=[3, 1]"])
    first, second = list(config.schedule.schedulers)[:2]
    names = iterations(config)
    assert names["measure"] == ["seed 3", "seed 1"]
    assert names["train"][:2] == [f"{first} seed 3", f"{second} seed 3"]
    assert len(names["train"]) == 2 * len(combinations_of(config))
    assert names["train"][-1] == "uniform+repair seed 1"


def test_the_nodes_of_a_large_workflow_are_unpacked():
    plain = workflow(step("start", "Running"))
    packed = base64.b64encode(gzip.compress(json.dumps(plain["status"]["nodes"]).encode())).decode()
    small = {"metadata": plain["metadata"], "status": {"compressedNodes": packed}}
    assert read_workflow(json.dumps(small)) == read_workflow(json.dumps(plain))


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"status": {}}', '{"status": {"compressedNodes": "x"}}'])
def test_a_workflow_without_nodes_is_none(text):
    assert read_workflow(text) is None


def test_without_the_older_api_steps_of_a_name_are_counted_and_inner_nodes_left_out(capsys):
    train = ("train", "RUNNING")
    inner = [(name, "RUNNING") for name in ("root", "iteration-item", "iteration-iterations(0:0)", "executor(0)")]
    states = [
        ("RUNNING", [("start", "RUNNING"), *inner]),
        ("RUNNING", [("start", "SUCCEEDED"), train, train, ("train-driver", "RUNNING")]),
        ("RUNNING", [("start", "SUCCEEDED"), ("train", "SUCCEEDED"), train]),
        ("SUCCEEDED", [("start", "SUCCEEDED"), ("train", "SUCCEEDED"), ("train", "SUCCEEDED")]),
    ]
    with serve(Server(states=states)) as address:
        assert submit(address, "--wait") == 0
    assert printed(capsys) == [
        "start: running",
        "start: succeeded",
        "train: 2 running",
        "train: 1 running, 1 succeeded",
        "train: 2 succeeded",
        f"run {RUN_ID}: succeeded",
    ]


def test_a_server_that_is_away_for_a_while_does_not_end_the_waiting(capsys):
    assert followed([("SUCCEEDED", [])], broken=5) == 0
    trouble = [line for line in capsys.readouterr().out.splitlines() if "Still trying" in line]
    assert len(trouble) == 1
    assert "Kubeflow Pipelines refused: upstream is away Still trying." in trouble[0]


def test_a_server_that_stays_away_ends_the_waiting_but_not_the_run():
    with pytest.raises(ContactLostError, match=f"The run {RUN_ID} continues by itself: http://.*/#/runs/details/"):
        followed([("SUCCEEDED", [])], broken=1000)


def test_a_lost_contact_has_a_status_of_its_own(capsys):
    server = Server(states=[("SUCCEEDED", [])])
    server.broken = 1000
    with serve(server) as address:
        assert submit(address, "--wait") == 3
    assert f"The run {RUN_ID} continues by itself" in capsys.readouterr().err


def test_a_token_that_expires_is_read_again(tmp_path, capsys):
    path = tmp_path / "token"
    path.write_text("first")
    server = Server(token="first", states=[("RUNNING", []), ("RUNNING", []), ("SUCCEEDED", [])])

    def renew():
        server.token = "second"

    server.after_looks = {2: renew, 5: lambda: path.write_text("second\n")}
    with serve(server) as address:
        assert submit(address, "--wait", "--token-file", str(path)) == 0
    output = capsys.readouterr().out
    assert f"refuses the token in {path} (status 401)" in output
    assert "It says: Jwt is expired Still trying." in output
    assert server.looks > 5
    assert len(server.submitted) == 1
    assert NAME not in output
