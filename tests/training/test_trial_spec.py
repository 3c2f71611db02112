"""A trial is described once, where it is started: how often its plan is read, and what its processes check."""

import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace

import pytest
from conftest import small_tree
from trials import trial_at

from bss.config import config_to_tree
from bss.data.store import Store
from bss.errors import BssError
from bss.files import read_json, write_json
from bss.launch import rank_main
from bss.stages.schedule import schedule
from bss.training.trial_folder import train_into
from bss.training.trial_spec import TrialId, all_trials, read_trial_plan

pytestmark = pytest.mark.process

COUNT_READS = """
import os
import sys

def note(event, arguments):
    # A plan is read with its digest, for which Python opens the file; pyarrow's own reading is not seen here.
    if event == "open" and str(arguments[0]).endswith("plans/bss-l/seed=1.parquet"):
        with open(os.environ["READS"], "a") as file:
            file.write(f"{os.getpid()}\\n")

sys.addaudithook(note)
"""
PROGRAM = """
import sys
from pathlib import Path
from bss.config import load_config
from bss.stages.train import train
if __name__ == "__main__":
    params, store, outputs, runs = map(Path, sys.argv[1:])
    trials = [("bss-l", 1), ("uniform", 1)]
    train(load_config(params), store, outputs / "scores", outputs / "plans", runs, trials)
"""
TRACKED = {"enabled": True, "models": "none"}


@pytest.fixture
def reads(database, small_root, small_store, pipeline, tmp_path):
    """Train bss-l and uniform in processes of their own; return how often each process read the plan of bss-l."""
    (tmp_path / "hook").mkdir()
    (tmp_path / "hook" / "sitecustomize.py").write_text(COUNT_READS)
    (tmp_path / "program.py").write_text(PROGRAM)
    log, params = tmp_path / "reads", tmp_path / "params.json"
    path = os.pathsep.join([str(tmp_path / "hook"), *(place for place in sys.path if place)])
    environment = {**os.environ, "PYTHONPATH": path, "READS": str(log)}
    environment["MLFLOW_TRACKING_URI"] = database

    def reads(processes=1, jobs=1, tracking=None):
        tree = small_tree(small_root) | {"tracking": tracking or {"enabled": False}}
        tree["train"]["processes"], tree["resources"]["jobs"] = processes, jobs
        params.write_text(json.dumps(tree))
        log.write_text("")
        command = [sys.executable, tmp_path / "program.py", params, small_store, pipeline[0], tmp_path / "runs"]
        options = {"env": environment, "cwd": tmp_path, "capture_output": True, "text": True, "timeout": 300}
        done = subprocess.run(command, check=False, **options)
        assert done.returncode == 0, done.stderr
        return sorted(Counter(log.read_text().split()).values())

    return reads


def test_a_plan_is_read_once_for_its_trial_and_once_for_its_training(reads):
    assert reads() == [2]
    assert reads() == [1]  # the trial is finished


def test_tracking_reads_no_plan_but_for_its_copy(reads):
    assert reads(tracking=TRACKED) == [3]


def test_a_worker_reads_the_plan_that_it_trains_by_and_no_other_process_reads_it_again(reads):
    assert reads(jobs=2) == [1, 1]


def test_each_of_two_ranks_reads_the_plan_once(reads, pipeline, tmp_path):
    assert reads(processes=2) == [1, 1, 1]
    made, alone = (
        read_json(runs / "bss-l" / "seed=1" / "provenance.json", "train")
        for runs in (tmp_path / "runs", pipeline[0] / "runs")
    )
    assert made["inputs"] == alone["inputs"]  # with the key


def test_a_trial_names_its_folder_its_run_and_itself_in_messages():
    trial = TrialId("bss-l", 3)
    assert (str(trial), trial.path, trial.run_name) == ("bss-l seed 3", "bss-l/seed=3", "bss-l seed=3")


def test_all_trials_are_in_the_order_of_training(pipeline):
    names = ["uniform", "control", "bss-h", "bss-l", "bss-l-online", "official-l"]
    assert all_trials(pipeline[1]) == [TrialId(name, seed) for seed in (0, 1) for name in names]


def test_a_trial_is_what_its_provenance_records(pipeline, small_store, tmp_path):
    trial = trial_at(tmp_path / "here", pipeline[1], small_store, pipeline[0] / "plans", "bss-h", 1)
    recorded = read_json(pipeline[0] / "runs" / "bss-h" / "seed=1" / "provenance.json", "train")
    store = Store.open(small_store).digest
    assert recorded["inputs"] == {"store": store, "plan": trial.plan_digest, "cell": trial.key}
    assert recorded["parameters"] == trial.parameters
    assert recorded["code"]["digest"] == trial.code
    assert trial.folder == tmp_path / "here"


def test_a_plan_that_changed_since_the_trial_was_described_is_refused(pipeline, small_store, tmp_path):
    config, data, plans = pipeline[1], Store.open(small_store), tmp_path / "plans"
    schedule(config, small_store, pipeline[0] / "scores", plans)
    trial = trial_at(tmp_path / "runs" / "trial", config, small_store, plans, "bss-h", 0)
    other = replace(config, train=replace(config.train, epochs=2))
    schedule(other, small_store, pipeline[0] / "scores", plans)
    plan = read_trial_plan(config, data, plans, trial.id)
    with pytest.raises(BssError, match=r"plans/bss-h/seed=0\.parquet: changed since .* expected .* Run `bss train`"):
        train_into(trial, plan, config, data, lambda row: None)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("same_code", [True, False])
def test_a_rank_takes_the_key_from_its_starter_unless_the_code_changed(
    same_code, pipeline, small_store, tmp_path, monkeypatch
):
    plans = pipeline[0] / "plans"
    write_json(tmp_path / "params.json", config_to_tree(pipeline[1]))
    right = trial_at(tmp_path / "out", pipeline[1], small_store, plans, "bss-h", 0)
    given = replace(right, key="f" * 64, code=right.code if same_code else "0" * 64)
    for name, value in {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "LOCAL_WORLD_SIZE": "1"}.items():
        monkeypatch.setenv(name, value)
    started = []
    monkeypatch.setattr(rank_main, "train_as_rank", lambda trial, *rest: started.append(trial))
    command = ["--params", tmp_path / "params.json", "--store", small_store, "--plans", plans, "--scheduler", "bss-h"]
    command += ["--seed", 0, "--out", tmp_path / "out", "--trial", given.key, given.plan_digest, given.code]
    assert rank_main.main([*map(str, command)]) == 0
    assert started == [given if same_code else right]
