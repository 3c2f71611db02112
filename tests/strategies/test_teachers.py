"""Teachers: what learns from them, and that they are trained once, resumed, shared and counted."""

import shutil
from dataclasses import replace

import pytest
import torch
from conftest import small_tree
from killed import Killed, killed_after_saving
from test_invariants import CASES
from toy import CLASSES, Toy, context_of, facts, make_network, seen_of, setting_for, start, teachers_of, train

from bss.config import config_from_tree
from bss.config.resources import CheckpointsConfig
from bss.data.store import Store
from bss.files import held, read_json
from bss.models.network import build_network
from bss.stages.train import train as train_stage
from bss.strategies.g2d import G2d, distillation
from bss.strategies.reconboost import ReconBoost
from bss.strategies.umt import Umt, feature_distance
from bss.training.distributed.ranks import ALONE
from bss.training.initial_network import initial_network
from bss.training.resume.checkpoints import checkpoints_folder
from bss.training.strategy import teachers as module
from bss.training.strategy.start import start_strategy
from bss.training.strategy.teachers import TEACHERS, needed_teachers, teachers_for
from bss.training.trial_spec import TrialId, describe_trial, read_trial_plan

TWO = ("audio", "video")
SAME = ("history.csv", "metrics.json", "model.pt", "network.json", "predictions.parquet", "sequences.parquet")


def test_umt():
    own = {"audio": torch.tensor([[1.0, 2.0]]), "video": torch.tensor([[1.0, 0.0]])}
    taught = {"audio": torch.zeros(1, 2), "video": torch.zeros(1, 2)}
    assert feature_distance({"audio": own["audio"]}, taught).tolist() == [2.5]
    assert feature_distance(own, taught).tolist() == [3.0]


def test_distillation():
    found = distillation(torch.zeros(1, 2), torch.tensor([[2.0, 0.0]]), 2.0)
    assert float(found) == pytest.approx(0.4438, abs=1e-4)


def test_teachers_see_the_inputs_of_the_step_in_eval_mode_and_get_no_gradient():
    network, data = make_network(TWO), Toy(TWO)
    teachers = teachers_of(network)
    seen = seen_of(network, data, range(22))
    wanted = seen_of(teachers, data, range(22))
    loss = torch.nn.functional.cross_entropy(seen.fused, seen.labels)
    for name in TWO:
        loss = loss + 10 * (seen.features[name] - wanted.features[name]).square().mean()
    encoders = list(network.encoders.parameters())
    expected = torch.autograd.grad(loss, encoders)
    train(Umt(loss="published"), network, data, batch_size=22, epochs=1)
    for p, right in zip(encoders, expected, strict=True):
        torch.testing.assert_close(p.grad, right, atol=1e-6, rtol=1e-4)
    assert all(not p.requires_grad for p in teachers.parameters())


def test_g2d_freezes_in_the_order_of_the_teachers():
    strategy, network = G2d(until=(0.5,)), make_network(TWO)
    state = strategy.start(setting_for(network), {}, CLASSES)
    reads, frozen = [], []
    for epoch in range(4):
        context = context_of(strategy, network, state, epoch)
        reads.append(strategy.reads(context))
        found = {"teachers": facts(confidence={"audio": 0.4, "video": 0.3})} if reads[-1] else {}
        frozen.append(strategy.plan(context, found, start(strategy, network).modules).frozen)
    assert reads == [True, False, False, False]
    assert frozen == [(("encoder", "audio"),)] * 2 + [()] * 2
    assert G2d(freeze=False).plan(context_of(strategy, network, {"order": []}), {}, {}).frozen == ()
    with pytest.raises(ValueError, match="`until` must be null or 1 for 2 modalities"):
        G2d(until=(0.2, 0.5)).check(setting_for(network))


@pytest.fixture(scope="module")
def taught(pipeline, small_root, small_store, tmp_path_factory):
    """Two rows that need teachers and one that is like them: the folder of trials, the configuration, the paths."""
    tree = small_tree(small_root)
    tree["strategies"] = {
        "umt": {"kind": "umt"},
        "g2d": {"kind": "g2d"},
        "alone": {"kind": "weights", "fused": 0.0, "unimodal": 1.0},
        "boost": {"kind": "reconboost", "teachers": "pretrained"},
    }
    tree["seeds"] = [0]
    tree["combinations"] = ["uniform", "bss-h+umt", "uniform+g2d", "uniform+alone", "uniform+boost"]
    tree["compare"] = {"baseline": "uniform", "control": None, "resamples": 1000}
    config, folder = config_from_tree(tree, "params.yaml"), tmp_path_factory.mktemp("taught")
    paths = (small_store, pipeline[0] / "scores", pipeline[0] / "plans")
    train_stage(config, *paths, folder / "runs")
    return folder / "runs", config, paths


def student(taught, row):
    runs, config, (store, _, plans) = taught
    data, trial = Store.open(store), TrialId(*row)
    folder = runs / trial.path
    return describe_trial(config, data, plans, trial, folder, read_trial_plan(config, data, plans, trial))


UMT, G2D, BOOST = ("bss-h", 0, "umt"), ("uniform", 0, "g2d"), ("uniform", 0, "boost")


@pytest.mark.slow
def test_one_training_teaches_all_rows_of_a_seed_and_is_that_of_independent_networks(taught):
    runs = taught[0]
    (folder,) = (runs / TEACHERS).iterdir()
    alone = runs / "uniform+alone" / "seed=0"
    for name in SAME:
        assert (folder / name).read_bytes() == (alone / name).read_bytes()
    students = [student(taught, row) for row in (UMT, G2D, BOOST, ("uniform", 0, "alone"))]
    (trial,) = needed_teachers(taught[1], Store.open(taught[2][0]), students)
    assert trial.folder == folder


def test_another_training_of_the_teachers_is_another_trial(taught, monkeypatch):
    before = {row: student(taught, row).key for row in (UMT, BOOST, ("uniform", 0, "alone"))}
    monkeypatch.setattr(module, "UNIMODAL", replace(module.UNIMODAL, label_smoothing=0.1))
    after = {row: student(taught, row).key for row in before}
    assert [after[row] == before[row] for row in before] == [False, False, True]


def test_the_cost_of_teachers_is_counted(taught):
    runs = taught[0]
    (folder,) = (runs / TEACHERS).iterdir()
    teaching, plain = (read_json(path / "metrics.json", "train") for path in (folder, runs / "uniform" / "seed=0"))
    for row in ("uniform+g2d", "uniform+boost"):
        metrics = read_json(runs / row / "seed=0" / "metrics.json", "train")
        for key in ("steps", "samples"):
            assert metrics[key] == teaching[key] + plain[key]
    timing = read_json(runs / "uniform+g2d" / "seed=0" / "timing.json", "train")
    assert timing["teaching_seconds"] == read_json(folder / "timing.json", "train")["seconds"]
    assert timing["seconds"] > timing["teaching_seconds"]


def test_the_teachers_are_those_of_the_selected_epoch_in_eval_mode(taught):
    runs, config, (store, *_) = taught
    data = Store.open(store)
    found = teachers_for(student(taught, UMT), config, data, ALONE)
    (folder,) = (runs / TEACHERS).iterdir()
    network = build_network(read_json(folder / "network.json", "train"))
    network.load_state_dict(torch.load(folder / "model.pt", weights_only=True))
    for name, value in network.state_dict().items():
        assert torch.equal(value, found.network.state_dict()[name])
    assert not any(module.training for module in found.network.modules())
    assert not any(p.requires_grad for p in found.network.parameters())
    assert teachers_for(student(taught, ("uniform", 0, "alone")), config, data, ALONE) is None


def test_a_pretrained_strategy_begins_with_the_encoders_of_the_teachers_and_does_not_ask_them_later(taught):
    _, config, (store, *_) = taught
    data, trial = Store.open(store), student(taught, BOOST)
    teachers, network = teachers_for(trial, config, data, ALONE), initial_network(config, data, 0, torch.device("cpu"))
    heads = {name: value.clone() for name, value in network.heads.state_dict().items()}
    strategy = config.strategies["boost"]
    run = start_strategy(strategy, config, data, network, ALONE, 0, teachers)
    assert run.teachers is None
    for part, expected in (("encoders", teachers.network.encoders.state_dict()), ("heads", heads)):
        for name, value in getattr(network, part).state_dict().items():
            assert torch.equal(value, expected[name])
    assert not ReconBoost().needs_teachers


@pytest.mark.slow
def test_a_stop_while_teachers_are_trained_or_learned_from_ends_with_the_same_bytes(taught, tmp_path):
    runs, config, paths = taught
    often = replace(config, resources=replace(config.resources, checkpoints=CheckpointsConfig(minutes=None, steps=4)))
    (teachers,) = (runs / TEACHERS).iterdir()
    with killed_after_saving(lambda steps: True):
        for _ in range(3):  # twice the teachers, once the student
            with pytest.raises(Killed):
                train_stage(often, *paths, tmp_path / "runs", [UMT])
    assert (tmp_path / "runs" / TEACHERS / teachers.name).is_dir()
    assert list(checkpoints_folder(tmp_path / "runs" / "bss-h+umt" / "seed=0").iterdir())
    train_stage(often, *paths, tmp_path / "runs", [UMT])
    for name in SAME:
        whole, stopped = (path / "bss-h+umt" / "seed=0" / name for path in (runs, tmp_path / "runs"))
        assert stopped.read_bytes() == whole.read_bytes()
        assert (tmp_path / "runs" / TEACHERS / teachers.name / name).read_bytes() == (teachers / name).read_bytes()


@pytest.mark.process
def test_two_processes_train_and_learn_from_the_same_teachers(taught, tmp_path):
    runs, config, paths = taught
    two = replace(config, train=replace(config.train, processes=2))
    train_stage(two, *paths, tmp_path / "runs", [UMT])
    for row in (TEACHERS + "/*", "bss-h+umt/seed=0"):
        (one,), (other,) = runs.glob(row), (tmp_path / "runs").glob(row)
        weights, same = (torch.load(path / "model.pt", weights_only=True) for path in (one, other))
        for name, value in weights.items():
            torch.testing.assert_close(same[name], value, atol=1e-3, rtol=1e-2)


def test_who_needs_the_same_teachers_waits_for_them(taught, monkeypatch):
    runs, config, (store, *_) = taught
    (folder,) = (runs / TEACHERS).iterdir()
    lock = held(folder)
    lock.__enter__()
    waited = []

    def release(seconds):
        waited.append(seconds)
        lock.__exit__(None, None, None)

    monkeypatch.setattr(module.time, "sleep", release)
    assert teachers_for(student(taught, G2D), config, Store.open(store), ALONE) is not None
    assert len(waited) == 1


def test_teachers_that_nothing_needs_are_removed(taught, small_root, tmp_path):
    runs, config, paths = taught
    shutil.copytree(runs, tmp_path / "runs")
    train_stage(config, *paths, tmp_path / "runs")
    assert [path.name for path in (tmp_path / "runs" / TEACHERS).iterdir()]
    train_stage(replace(config, combinations=("uniform",)), *paths, tmp_path / "runs")
    assert not (tmp_path / "runs" / TEACHERS).exists()
    assert {path.name for path in (tmp_path / "runs").glob("*/seed=*")} == {"seed=0"}


def test_cases_with_teachers_are_here():
    assert {strategy.kind for strategy in CASES.values() if strategy.taught} == {"umt", "g2d"}
