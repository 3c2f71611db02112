"""Whole trials with clipping, a cosine, smoothed labels, class weights and averaged weights, and their resuming."""

from dataclasses import replace

import pytest
from conftest import small_tree
from test_resume import content, run_until
from trials import train_at

from bss.config import config_from_tree
from bss.config.early_stopping import EarlyStopping
from bss.data.store import Store
from bss.errors import BssError
from bss.files import read_json
from bss.metrics.base import Task
from bss.report.results import read_results
from bss.stages.schedule import schedule

OPTIONS = {
    "optimiser": {"kind": "adamw", "learning_rate": 0.02},
    "decay": {"kind": "cosine", "warmup_epochs": 1, "final": 0.1},
    "clip": 0.5,
    "label_smoothing": 0.1,
    "class_weights": {"owl": 2},
    "ema": 0.8,
}


@pytest.fixture(scope="module")
def setting(small_root, small_store, tmp_path_factory):
    """A configuration of uniform shuffling alone with all options, which saves after every step; store and plans."""
    folder = tmp_path_factory.mktemp("plans")
    tree = small_tree(small_root)
    tree["schedule"]["schedulers"] = {"uniform": {"kind": "uniform"}}
    tree["compare"] = {"resamples": 1000}
    tree["train"] |= OPTIONS
    tree["resources"]["checkpoints"] = {"minutes": None, "steps": 1}
    config = config_from_tree(tree, "params.yaml")
    schedule(config, small_store, folder / "scores", folder / "plans")
    return config, Store.open(small_store), folder / "plans"


def trained(setting, path, **train):
    """Train with other keys of `train`; return the rows of history.csv."""
    config, store, plans = setting
    rows = []
    train_at(path, replace(config, train=replace(config.train, **train)), store, plans, "uniform", 0, rows.append)
    return rows


@pytest.fixture(scope="module")
def whole(setting, tmp_path_factory):
    """The folder and the rows of a trial that never stopped."""
    path = tmp_path_factory.mktemp("whole") / "seed=0"
    return path, trained(setting, path)


@pytest.mark.slow
def test_stopped_after_every_step_it_ends_with_the_same_bytes(setting, whole, tmp_path):
    path, stops = tmp_path / "seed=0", 0
    while not run_until(setting, path, "uniform", 0):
        stops += 1
    assert stops == 9
    assert content(path) == content(whole[0])


def test_the_history_has_the_rate_of_each_epochs_last_step(whole):
    # Of 3 epochs of 3 steps the first is the warm-up; then 1/3 and 5/6 of half a cosine from 0.02 to 0.002 are done.
    assert [row["learning_rate"] for row in whole[1]] == pytest.approx([0.02, 0.0155, 0.0032058], rel=1e-4)


def test_averaging_changes_what_is_evaluated_and_saved_and_not_the_training(setting, whole, tmp_path):
    rows = trained(setting, tmp_path / "seed=0", ema=None)
    assert [row["train/loss"] for row in rows] == [row["train/loss"] for row in whole[1]]
    assert content(tmp_path / "seed=0")["model.pt"] != content(whole[0])["model.pt"]
    with_average, without = (read_json(path / "metrics.json", "test") for path in (whole[0], tmp_path / "seed=0"))
    assert with_average["steps"] == without["steps"] == 9


@pytest.mark.slow
def test_a_training_that_stops_early_counts_its_steps_resumes_and_is_a_result(setting, whole, tmp_path):
    config, *rest = setting
    never = EarlyStopping(patience=1, min_delta=100)  # no epoch rises by 100 points above the first
    early = replace(config, train=replace(config.train, early_stopping=never), seeds=(0,))
    path, stops = tmp_path / "uniform" / "seed=0", 0
    while not run_until((early, *rest), path, "uniform", 0):
        stops += 1
    assert stops == 6
    straight = tmp_path / "straight" / "seed=0"
    rows = trained(setting, straight, early_stopping=never)
    assert rows == whole[1][:2]
    assert content(straight) == content(path)
    metrics = read_json(path / "metrics.json", "test")
    assert (metrics["epochs"], metrics["steps"], metrics["samples"]) == (2, 6, 96)
    task = Task(3, ("audio", "image", "vector"))
    ((result,),) = read_results(early, tmp_path, task).values()
    assert len(result.history["val/acc"]) == 2
    with pytest.raises(BssError, match=r"has 2 epochs, but train\.epochs is 3"):
        read_results(replace(config, seeds=(0,)), tmp_path, task)
