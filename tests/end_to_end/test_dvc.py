"""The pipeline through DVC in a clone of this project, on small data, as a user runs it."""

import json
import os
import shutil
import signal
import subprocess
import time

import pytest
from clones import clone_project, commit, environment, run, write_params
from conftest import small_tree

from bss.config import config_from_tree, config_to_tree

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def clone(small_root, tmp_path_factory):
    """A repository with this project's files and the small data; `dvc repro` ran once and all is committed."""
    folder = tmp_path_factory.mktemp("clone")
    clone_project(folder)
    tree = small_tree(small_root) | {"tracking": {"enabled": True, "models": "none"}}
    # DVC wants every parameter that dvc.yaml names to be written out, as in the committed params.yaml.
    tree = config_to_tree(config_from_tree(tree, "params.yaml")) | {"generate": {}}
    write_params(folder, tree)
    commit(folder, "project")
    folder_output = run(folder, "dvc", "repro")
    commit(folder, "result")
    return folder, tree, folder_output


def stages_run(output):
    return [line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage")]


def test_all_stages_run_without_generating_data_that_is_not_asked_for(clone):
    _, _, output = clone
    assert stages_run(output) == ["prepare", "audit", "measure", "schedule", "train", "compare"]


def test_a_run_without_an_audit_warns_of_nothing(clone):
    folder, _, output = clone
    assert "WARNING" not in output
    assert [path.name for path in (folder / "outputs" / "audit").iterdir()] == ["off.txt"]


def test_run_again_all_is_up_to_date(clone):
    folder, _, _ = clone
    assert "Data and pipelines are up to date." in run(folder, "dvc", "repro")


def test_metrics_and_plots_show_and_diff(clone):
    folder, tree, _ = clone
    shown = json.loads(run(folder, "dvc", "metrics", "show", "--json"))
    names = list(tree["schedule"]["schedulers"])
    assert set(shown[""]["data"]) == {f"outputs/report/metrics/{name}.json" for name in names}
    head, *rows = run(folder, "dvc", "metrics", "show", "--md").strip().splitlines()
    columns = [cell.strip() for cell in head.strip("|").split("|")]
    expected = ["Path", "test_acc", "test_acc_sd", "test_f1_macro", "steps", "vs_baseline_points", "vs_control_points"]
    assert sorted(columns) == sorted(expected)
    assert len(rows) == 1 + len(names)  # under the line of dashes
    assert max(map(len, run(folder, "dvc", "metrics", "show").splitlines())) <= 140
    changed = json.loads(json.dumps(tree))
    changed["train"]["epochs"] = 2
    write_params(folder, changed)
    output = run(folder, "dvc", "repro")
    assert stages_run(output) == ["schedule", "train", "compare"]
    changes = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in run(folder, "dvc", "metrics", "diff", "--md").splitlines()
    ]
    (steps,) = [row for row in changes if row[:2] == ["outputs/report/metrics/uniform.json", "steps"]]
    assert steps[2:] == ["9.0", "6.0", "-3.0"]  # 48 samples in batches of 16, for 3 epochs and for 2
    for command in ("show", "diff"):
        run(folder, "dvc", "plots", command, "--out", "plots")
        page = (folder / "plots" / "index.html").read_text()
        assert "bss-l-online" in page
        assert '"scheduler"' in page
        shutil.rmtree(folder / "plots")
    # The committed result lies in DVC's cache: going back to it trains nothing.
    write_params(folder, tree)
    run(folder, "git", "checkout", "-q", "dvc.lock")
    run(folder, "dvc", "checkout")
    assert stages_run(run(folder, "dvc", "repro")) == []


def test_an_experiment_with_another_parameter(clone):
    folder, tree, _ = clone
    write_params(folder, tree)
    run(folder, "dvc", "repro")
    output = run(folder, "dvc", "exp", "run", "--set-param", "train.epochs=1", "--name", "short")
    assert "schedule" in output
    shown = run(folder, "dvc", "exp", "show", "--csv")
    assert "short" in shown


def test_killed_in_the_middle_of_training_it_goes_on_where_it_was(clone):
    folder, tree, _ = clone
    slow = json.loads(json.dumps(tree))
    slow["train"]["epochs"] = 40
    slow["schedule"]["schedulers"] = {name: tree["schedule"]["schedulers"][name] for name in ("uniform", "control")}
    write_params(folder, slow)
    process = subprocess.Popen(
        ["dvc", "repro"], cwd=folder, env=environment(folder), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    first = folder / "outputs" / "runs" / "uniform" / "seed=0"
    for _ in range(1200):
        if first.is_dir() and "\n39," in (first / "history.csv").read_text():
            break
        time.sleep(0.05)
    # DVC alone: the trial that it started ends by itself, and does not stand in the way of the next.
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    finished = {path.name: path.read_bytes() for path in first.iterdir()}
    output = run(folder, "dvc", "repro")
    assert stages_run(output)[-1] == "compare"
    # timing.json has measured seconds, which a second training would change. DVC may copy files and change their times.
    assert {path.name: path.read_bytes() for path in first.iterdir()} == finished
    assert not list((folder / "outputs" / "runs").rglob(".*unfinished"))
    assert "uniform seed 0" in output
    assert "kept from before" in output
