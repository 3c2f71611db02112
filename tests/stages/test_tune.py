"""bss tune: which rates it tries, how it chooses, what it writes."""

import json

import pytest
from conftest import small_tree
from ruamel.yaml import YAML

from bss.cli import main
from bss.data.store import Store
from bss.errors import BssError
from bss.stages.tune import plain_config, rate_grid, tune


@pytest.fixture
def params(small_root, tmp_path):
    """A params.yaml with comments."""
    path = tmp_path / "params.yaml"
    tree = small_tree(small_root)
    tree["train"]["optimiser"] = {"kind": "sgd", "learning_rate": 0.05, "momentum": 0.9}
    with path.open("w") as file:
        YAML().dump(tree, file)
    text = path.read_text().replace("learning_rate: 0.05", "learning_rate: 0.05   # of my own: 0.05")
    path.write_text(text.replace("epochs: 3", "epochs: 3  # few"))
    return path


def run(params, small_store, folder, *more):
    return main(["tune", "--params", str(params), "--store", str(small_store), "--tune", str(folder), *more])


def test_rates_are_log_spaced_with_two_digits():
    assert rate_grid(0.002, 0.2, 5) == [0.002, 0.0063, 0.02, 0.063, 0.2]
    for wrong in ((0.2, 0.1, 5), (0.1, 0.1, 5), (0.1, 0.2, 1)):
        with pytest.raises(BssError, match="--low, --high, --points: need 0 < low < high and 2 or more"):
            rate_grid(*wrong)


def test_it_trains_uniform_shuffling_plainly_and_decays_move_with_the_epochs(small_root, make_config):
    tree = small_tree(small_root)
    tree["train"] |= {"epochs": 40, "decay": {"at": [20, 30], "factor": 0.1}}
    tree["strategies"] = {"ogm": {"kind": "ogm"}}
    config = plain_config(make_config(tree), 8, (3,))
    assert (config.train.epochs, config.train.decay.at, config.seeds, config.protocol) == (8, (4, 6), (3,), "honest")
    assert list(config.schedule.schedulers) == ["uniform"]
    assert list(config.strategies) == ["none"]
    assert plain_config(make_config(tree), None, (3,)).train.decay.at == (20, 30)


@pytest.mark.slow
def test_the_best_rate_on_val_is_set_and_nothing_else(params, small_store, tmp_path, capsys):
    folder, before = tmp_path / "tune", params.read_text()
    more = ("--low", "0.0001", "--high", "1000000", "--points", "3", "--epochs", "2", "--seed", "0", "--seed", "1")
    assert run(params, small_store, folder, *more) == 0
    made = json.loads((folder / "tune.json").read_text())
    assert [one["learning_rate"] for one in made["tried"]] == [0.0001, 10.0, 1000000.0]
    for one in made["tried"]:
        files = [folder / f"rate-{one['learning_rate']:g}" / "uniform" / f"seed={s}" / "metrics.json" for s in (0, 1)]
        trained = [json.loads(file.read_text())["val/acc"] for file in files if file.is_file()]
        assert one["val_acc"] == (trained if len(trained) == 2 else [])
    assert made["tried"][2]["val_acc"] == []  # diverged
    means = {one["learning_rate"]: sum(one["val_acc"]) / 2 for one in made["tried"] if one["val_acc"]}
    assert made["best"] == max(means, key=means.get)
    shown = capsys.readouterr().out
    assert "diverged" in shown
    assert f"Set with --write, or by hand: train.optimiser.learning_rate: {made['best']:g}" in shown
    assert params.read_text() == before
    # What is trained is kept, and the file changes in one place.
    times = {path: path.stat().st_mtime_ns for path in folder.rglob("model.pt")}
    assert run(params, small_store, folder, *more, "--write") == 0
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("model.pt")} == times
    rate = f"learning_rate: {made['best']:g}   # of my own: 0.05"
    assert params.read_text() == before.replace("learning_rate: 0.05   # of my own: 0.05", rate)
    again = json.loads((folder / "tune.json").read_text())
    assert again == made


@pytest.mark.slow
def test_a_rate_at_the_edge_asks_for_a_wider_search(params, small_store, tmp_path, capsys):
    assert run(params, small_store, tmp_path / "tune", "--low", "1e-9", "--high", "1e-8", "--points", "2") == 0
    shown = capsys.readouterr().out
    assert "rate tried: widen the search by --" in shown


def test_if_all_diverge_it_says_so(params, small_store, tmp_path, capsys):
    grid = ("--low", "1e6", "--high", "1e8", "--points", "2")
    assert run(params, small_store, tmp_path / "tune", *grid) == 1
    assert "every learning rate from 1e+06 on diverges: give a smaller --low" in capsys.readouterr().err


def test_no_epochs_are_not_the_configured_ones(params, small_store, tmp_path, capsys):
    assert run(params, small_store, tmp_path / "tune", "--epochs", "0") == 1
    assert "--epochs 0: must be at least 1" in capsys.readouterr().err


def test_without_val_it_is_refused(small_root, small_store, make_config, tmp_path, monkeypatch):
    rows = Store.rows
    monkeypatch.setattr(Store, "rows", lambda self, split: rows(self, "train")[: 0 if split == "val" else None])
    with pytest.raises(BssError, match="has no val split to compare learning rates on; the test split is never"):
        tune(make_config(small_tree(small_root)), tmp_path / "p", small_store, tmp_path / "tune")


def test_a_file_without_the_rate_is_refused_before_training(params, small_store, small_root, make_config, tmp_path):
    params.write_text("dataset: crema-d\n")
    config = make_config(small_tree(small_root))
    with pytest.raises(BssError, match=r"has no train\.optimiser\.learning_rate that --write could set"):
        tune(config, params, small_store, tmp_path / "tune", write=True)
    assert not (tmp_path / "tune").exists()
