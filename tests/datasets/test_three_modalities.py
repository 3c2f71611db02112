"""Every strategy on three modalities: two epochs of each on CMU-MOSEI in miniature, by the stage that trains."""

import csv
from dataclasses import replace
from math import isfinite

import pytest
import torch
from small_training import small_config
from test_cmu_mosei import SHAPES, pickled_root

from benchmarks.strategy_cost import ACTING
from bss.balance.schedulers.uniform import UniformEntry
from bss.config.schedule import ScheduleConfig
from bss.config.schema import CompareConfig
from bss.config.strategies import find_strategies
from bss.data.store import Store
from bss.data.tables import open_table
from bss.errors import BssError
from bss.files import read_json
from bss.metrics.inputs import Task
from bss.report.results import read_results
from bss.stages.prepare import prepare
from bss.stages.schedule import schedule
from bss.stages.train import train
from bss.strategies.longer import Longer
from bss.training.initial_network import initial_network
from bss.training.strategy.start import config_for

pytestmark = pytest.mark.slow
STRATEGIES = {strategy.kind: strategy(**ACTING.get(strategy.kind, {})) for strategy in find_strategies()}
EPOCHS, TRAIN, BATCH = 2, 24, 4
FREEZE = {"g2d", "reconboost"}
"""Kinds that train some encoders alone at first; the selected epoch may come before the others' turn."""


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """The parameters with uniform shuffling, the store and its plans."""
    folder = tmp_path_factory.mktemp("mosei")
    root = pickled_root(folder)
    config = small_config("cmu-mosei", root)
    schedulers = ScheduleConfig({"uniform": UniformEntry("uniform")})
    changes = {"schedule": schedulers, "compare": CompareConfig(baseline="uniform", resamples=1000)}
    config = replace(config, train=replace(config.train, epochs=EPOCHS), **changes)
    prepare(config, root, folder / "store")
    schedule(config, folder / "store", folder / "no-scores", folder / "plans")
    return config, folder


@pytest.mark.parametrize("kind", STRATEGIES)
def test_a_strategy_trains_three_modalities_and_records_it(kind, prepared, tmp_path):
    config, folder = prepared
    name, strategy = ("uniform", None) if kind == "none" else ("uniform+mine", STRATEGIES[kind])
    if strategy is not None:
        compare = replace(config.compare, baseline=name)
        config = replace(config, strategies={"mine": strategy}, combinations=(name,), compare=compare)
    train(config, folder / "store", folder / "no-scores", folder / "plans", tmp_path)
    trial = tmp_path / name / "seed=0"

    with (trial / "history.csv").open(newline="") as file:
        history = list(csv.DictReader(file))
    epochs = EPOCHS if strategy is None else strategy.total_epochs(EPOCHS)
    assert len(history) == epochs
    assert all(isfinite(float(row["train/loss"])) for row in history)
    assert all(0 <= float(row[f"val/acc_{m}"]) <= 1 for row in history for m in SHAPES)

    store = Store.open(folder / "store")
    (result,) = read_results(config, tmp_path, Task(len(store.classes), tuple(SHAPES)))[name]
    assert len(result.history["train/loss"]) == epochs
    metrics = read_json(trial / "metrics.json", "train")
    assert metrics["steps"] >= epochs * TRAIN / BATCH
    assert metrics["flops"] >= sum(int(row["train/flops"]) for row in history) > 0
    assert 0 <= metrics["test/acc"] <= 1

    before = initial_network(config_for(strategy, config), store, 0, torch.device("cpu")).state_dict()
    after = torch.load(trial / "model.pt")
    weights = [key for key in before if key.endswith(".weight") and key.startswith("encoders.")]
    moved = {key.split(".")[1] for key in weights if not torch.equal(before[key], after[key])}
    assert moved == set(SHAPES) or (kind in FREEZE and moved)

    made = read_json(trial / "provenance.json", "train")["parameters"]
    assert made.get("strategy", {}).get("kind", "none") == kind
    assert len(open_table(trial / "sequences.parquet", "train", ("epoch",))) == epochs
    assert len(open_table(trial / "predictions.parquet", "train", ("predicted",))) == 8


def test_a_longer_training_that_is_cut_short_is_refused(prepared, tmp_path):
    config, folder = prepared
    compare = replace(config.compare, baseline="uniform+half-more")
    longer = {"half-more": Longer(times=1.5)}
    config = replace(config, strategies=longer, combinations=("uniform+half-more",), compare=compare)
    train(config, folder / "store", folder / "no-scores", folder / "plans", tmp_path)
    path = tmp_path / "uniform+half-more" / "seed=0" / "history.csv"
    path.write_text("".join(path.read_text().splitlines(True)[:-1]))
    with pytest.raises(BssError, match=r"has 2 epochs, but train\.epochs is 2, of which half-more makes 3"):
        read_results(config, tmp_path, Task(7, tuple(SHAPES)))
