"""The first comparison that `bss init` suggests: it runs, it has its controls, and its time is estimated."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from bss.artifacts.plans import Plan
from bss.config import config_to_tree, load_config
from bss.config.combinations import Combination, combinations_of, idle_strategies
from bss.data.manifest import Manifest
from bss.data.store import Store
from bss.init import command
from bss.init import estimate as estimating
from bss.init.estimate import Estimate, duration, estimate
from bss.init.suggest import suggest, write_new
from bss.report.controls import missing_controls
from bss.report.factorial import factorial_differences
from bss.report.families import FEWEST_SEEDS
from bss.stages.prepare import prepare
from bss.training.trial import train_trial


@pytest.fixture
def made(small_root, tmp_path):
    """The suggestion for the small data, and its file."""
    made = suggest(small_root / "manifest.csv", tmp_path)
    write_new(tmp_path / "params.yaml", made.text)
    return made, tmp_path / "params.yaml"


def test_it_decides_with_about_forty_trainings(made):
    config = load_config(made[1])
    rows = combinations_of(config)
    assert len(config.seeds) >= FEWEST_SEEDS
    assert len(rows) * len(config.seeds) <= 42
    plain = [row.scheduler for row in rows if row.strategy == "none"]
    assert plain == ["uniform", "random-ranking", "bss-h"]
    assert {config.compare.baseline, config.compare.control} <= set(plain)
    trained = [row.name for row in rows if row.strategy != "none"]
    # A gradient, a loss and a feature-level strategy; the last one and the order in all four combinations.
    assert trained == ["uniform+mlb", "uniform+mbsd", "uniform+midas", "bss-h+midas"]
    # Their controls are one line away.
    assert missing_controls(config.strategies, list(config.strategies), config.network.loss_weights) == {}
    assert idle_strategies(config) == []


def test_the_report_tells_whether_order_and_strategy_add_up(made):
    rows = combinations_of(load_config(made[1]))
    random = np.random.default_rng(0)
    accuracies = {row: random.random(6) for row in rows}
    found = factorial_differences(accuracies, "uniform", "none")
    assert list(found["interaction"]) == [Combination("bss-h", "midas")]


@pytest.mark.slow
def test_one_training_of_it_runs(made, small_root, tmp_path):
    config = load_config(made[1], ["train.epochs=1", "train.decay.at=[]"])
    prepare(config, small_root, tmp_path / "store")
    plan = Plan(config_to_tree(config.schedule.schedulers["uniform"]), None, "")
    rows = []
    (tmp_path / "trial").mkdir()
    trial = (config, Store.open(tmp_path / "store"), plan, "uniform", 0, tmp_path / "trial", rows.append)
    metrics, _ = train_trial(*trial, strategy=config.strategies["midas"])
    assert metrics["steps"] == 24  # 48 samples in batches of 2
    assert 0 <= metrics["test/acc"] <= 1
    assert len(rows) == 1


def test_the_time_is_that_of_timed_steps(made, small_root, monkeypatch):
    made, _ = made
    monkeypatch.setattr(estimating, "_time", lambda config, store, device: (len(store), 0.01, 0.002))
    found = estimate(made.config, made.manifest, small_root)
    counts = Counter(sample.split for sample in made.manifest.samples)
    assert (counts["train"], counts["val"], made.config.train.epochs) == (48, 18, 24)
    assert found.each == pytest.approx(24 * (48 * 0.01 + 18 * 0.002))
    assert (found.samples, found.trials) == (made.config.train.batch_size, 42)
    assert Estimate(7, 6, 2.0, 4, 32, "cpu").seconds == 22.0  # 42 trials in 11 turns of 4
    text = Estimate(7, 6, 200.0, 2, 32, "cpu, AVX2").text()
    assert "7 combinations x 6 seeds = 42 trials of about 3 minutes or more, 2 at a time: about 70 minutes" in text
    assert "4 plain training steps of 32 samples" in text


def test_the_steps_that_are_timed_are_real(made, small_root):
    made, _ = made
    found = estimate(made.config, made.manifest, small_root)
    assert found.each > 0
    assert found.samples == made.config.train.batch_size


def test_without_readable_files_there_is_no_estimate(made, tmp_path):
    made, _ = made
    (tmp_path / "empty").mkdir()
    kept = [sample for sample in made.manifest.samples if sample.split == "train"]
    assert estimate(made.config, Manifest(tmp_path / "manifest.csv", kept, []), tmp_path / "empty") is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.1 s"), (2.54, "2.5 s"), (59.6, "60 s"), (200, "3 minutes"), (9000, "2 hours"), (400_000, "5 days")],
)
def test_durations_have_a_unit_that_suits_them(seconds, text):
    assert duration(seconds) == text


def test_the_comments_name_combinations_that_exist(made):
    config = load_config(made[1])
    controls = ("uniform+gradients-x1-5", "uniform+label-smoothing", "uniform+mixup")
    for name in (*controls, "bss-h+mlb", "bss-h+mbsd", "bss-h-trimmed", "bss-l", "bss-l-online"):
        assert name in made[0].text
        row = Combination(*name.split("+"))
        assert row.scheduler in config.schedule.schedulers
        assert row.strategy in config.strategies


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("out of memory.\nTried"), MemoryError(), OSError("full")])
def test_init_ends_well_if_the_time_cannot_be_estimated(error, small_root, tmp_path, monkeypatch, capsys):
    def fails(*_):
        raise error

    monkeypatch.setattr(command, "estimate", fails)
    monkeypatch.chdir(tmp_path)
    command.init(small_root / "manifest.csv", Path("params.yaml"), False, "inside")
    reason = str(error).partition("\n")[0] or "MemoryError"
    assert f"The time of the first comparison was not estimated: {reason}\n" in capsys.readouterr().out
    assert (tmp_path / "dvc.yaml").is_file()
