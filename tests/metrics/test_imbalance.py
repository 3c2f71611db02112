"""Metrics of imbalance: values computed by hand, and what they leave as it is."""

import csv
import io
import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from bss.artifacts.contributions import read_contributions
from bss.artifacts.plans import read_plan
from bss.config import config_to_tree
from bss.data.store import Store
from bss.files import read_json
from bss.metrics import fused_accuracy, overfitting, shapley
from bss.metrics.base import ImbalanceMetric, Metric
from bss.metrics.find import metrics_of, values_of
from bss.metrics.inputs import HeadLosses, Imbalance, Task
from bss.tracking.columns import final_values, shown_series
from bss.training.distributed.ranks import ALONE
from bss.training.final_imbalance import final_imbalance
from bss.training.flops import EpochFlops
from bss.training.imbalance import imbalance_row, is_due
from bss.training.predicting import spaced
from bss.training.trial import train_trial

sys.path.append(str(Path(__file__).parents[1] / "strategies"))
from toy import Toy, make_network, network_for, read_of, start

from bss.balance.schedulers.learned import LearnedEntry as Learned
from bss.balance.schedulers.uniform import UniformEntry as Uniform
from bss.strategies.aug import Aug
from bss.strategies.mla import Mla
from bss.strategies.mmpareto import MmPareto
from bss.strategies.opm import Opm
from bss.strategies.remix import Remix
from bss.strategies.smp import Smp

TWO = ("audio", "video")
LOSSES = HeadLosses(dict.fromkeys(TWO, 1.0), dict.fromkeys(TWO, 0.5))


def given(labels, before=None, **features):
    """Return features that the fusion head adds."""
    fuse = lambda features: torch.stack(list(features.values())).sum(dim=0)  # noqa: E731
    norms = dict.fromkeys(TWO, 2.0)
    return Imbalance(features, torch.tensor(labels), fuse, LOSSES, LOSSES, before, norms, np.random.default_rng(0))


def of_classes(*classes, strength=1.0):
    return strength * torch.eye(3)[list(classes)]


def test_contributions_to_accuracy():
    # Labels 0 1 2 0 0: the commonest makes .6. Audio alone is right on 4, video alone on 3, both on 4.
    imbalance = given([0, 1, 2, 0, 0], audio=of_classes(0, 1, 2, 0, 1, strength=2.0), video=of_classes(0, 1, 0, 0, 2))
    found = shapley.contributions(imbalance)
    # Half of v(audio) - v(empty) + v(both) - v(video), and the other way round.
    assert found == pytest.approx({"audio": (0.8 - 0.6 + 0.8 - 0.6) / 2, "video": (0.6 - 0.6 + 0.8 - 0.8) / 2})
    assert sum(found.values()) == pytest.approx(0.8 - 0.6)
    row = values_of(ImbalanceMetric, imbalance, Task(3, TWO))
    assert row["imbalance/contributions_apart"] == pytest.approx(0.2)
    assert (row["imbalance/fused_acc_audio"], row["imbalance/fused_acc_video"]) == pytest.approx((0.8, 0.6))
    assert row["imbalance/confidence_audio"] == row["imbalance/train_confidence_video"] == 0.5
    assert (row["imbalance/head_loss_audio"], row["imbalance/gradient_norm_video"]) == (1.0, 2.0)
    assert row["imbalance/overfitting_audio"] is None


def test_the_value_of_section_8_of_shapley():
    # Accuracies .7, .6 and .5 with an empty value of 1/6: 0.316667 and 0.216667.
    from bss.strategies.shares import shapley as shares

    value = {frozenset(): 1 / 6, frozenset(["audio"]): 0.6, frozenset(["video"]): 0.5, frozenset(TWO): 0.7}
    found = shares(TWO, {names: torch.tensor(v, dtype=torch.float64) for names, v in value.items()})
    assert [float(found[name]) for name in TWO] == pytest.approx([0.316667, 0.216667], abs=1e-6)


def test_accuracy_of_a_share_is_without_the_biases_of_the_others():
    # The head adds 3 for class 2 whatever the features; shares carry half of it each.
    biased = replace(
        given([0, 0], audio=of_classes(0, 0, strength=2.0), video=of_classes(0, 2)),
        fuse=lambda features: features["audio"] + features["video"] + torch.tensor([0.0, 0.0, 3.0]),
    )
    assert fused_accuracy._compute(biased) == {"audio": 1.0, "video": 0.0}  # 2 > 1.5; 1 < 1.5


def test_dependence_is_0_for_what_the_head_ignores_and_the_divergence_elsewhere():
    imbalance = given(
        [0, 1], audio=torch.zeros(2, 3), video=torch.log(torch.tensor([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1]]))
    )
    row = values_of(ImbalanceMetric, imbalance, Task(3, TWO))
    assert row["imbalance/dependence_audio"] == 0
    # A permutation of two keeps both or exchanges them: (.8, .1, .1) for (.1, .8, .1), whose mean is (.45, .45, .1).
    changed = 0.8 * math.log(0.8 / 0.45) + 0.1 * math.log(0.1 / 0.45)
    orders = np.random.default_rng(0).random((8, 2)).argsort(axis=1)
    exchanged = (orders[:, 0] == 1).mean()
    assert 0 < exchanged < 1
    assert row["imbalance/dependence_video"] == pytest.approx(changed * exchanged, abs=1e-6)


def test_overfitting_to_generalisation():
    # Train 1.0 -> 0.6, watched 1.1 -> 0.9: G = .2, O goes from .1 to .3.
    assert overfitting.ratio((1.0, 1.1), (0.6, 0.9)) == pytest.approx(1.0)
    assert overfitting.ratio((1.0, 1.1), (0.9, 1.3)) == pytest.approx(0.3 / 0.2)  # the watched loss rose
    assert overfitting.ratio((1.0, 1.1), (0.5, 1.1)) is None


def test_when_it_is_due():
    from bss.config.schema import EvaluationConfig

    assert [e for e in range(12) if is_due(EvaluationConfig(imbalance_every=5), e, 12)] == [4, 9, 11]
    assert not any(is_due(EvaluationConfig(), e, 12) for e in range(12))
    assert spaced(10, 4).tolist() == [0, 2, 5, 7]
    assert spaced(3, 4).tolist() == [0, 1, 2]


def test_the_row_of_a_network_and_its_last_one(monkeypatch):
    network, data = make_network(TWO), Toy(TWO)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    state = torch.get_rng_state()
    first = imbalance_row(network, read_of(network, data), data, [], 0, 3, ALONE)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(p.grad is None for p in network.parameters())
    assert first == imbalance_row(network, read_of(network, data), data, [], 0, 3, ALONE)
    assert first != imbalance_row(network, read_of(network, data), data, [], 0, 4, ALONE)  # other permutations
    network.eval()
    outputs = network(data.inputs)
    for name in TWO:
        logits = outputs.logits[name]
        loss = torch.nn.functional.cross_entropy(logits, data.labels)
        assert first[f"imbalance/head_loss_{name}"] == pytest.approx(loss.item(), abs=1e-6)
        sure = logits.softmax(dim=1)[torch.arange(len(data)), data.labels].mean()
        assert first[f"imbalance/confidence_{name}"] == pytest.approx(float(sure.detach()), abs=1e-6)
        gradients = torch.autograd.grad(
            network.loss(network(data.inputs), data.labels).mean(), list(network.encoders[name].parameters())
        )
        norm = torch.stack([g.square().sum() for g in gradients]).sum().sqrt()
        assert first[f"imbalance/gradient_norm_{name}"] == pytest.approx(float(norm), rel=1e-5)
    history = [{"imbalance/head_loss_audio": 3.0, "imbalance/head_loss_video": 3.0}]
    history[0] |= {f"imbalance/train_head_loss_{name}": 2.0 for name in TWO}
    later = imbalance_row(network, read_of(network, data), data, [*history, {"epoch": 1}], 0, 3, ALONE)
    loss = first["imbalance/head_loss_audio"]  # train and watched are the same here: O falls from 1 to 0
    assert later["imbalance/overfitting_audio"] == pytest.approx(1 / abs(3 - loss))


@pytest.mark.parametrize("strategy", [Mla(), Aug(width=5, every=1)])
def test_the_row_of_a_network_whose_heads_have_layers(strategy):
    network, data = network_for(strategy, TWO), Toy(TWO)
    row = imbalance_row(network, read_of(network, data), data, [], 0, 0, ALONE)
    network.eval()
    logits = network(data.inputs).logits["audio"].detach()
    assert row["imbalance/head_loss_audio"] == pytest.approx(
        float(torch.nn.functional.cross_entropy(logits, data.labels)), abs=1e-6
    )
    assert set(final_imbalance(network, data, {"test": read_of(network, data)}, ALONE).contributions) == set(TWO)


def test_mlflow_gets_all_that_the_report_shows_of_imbalance():
    assert [metric.name for metric in metrics_of(Metric) if metric.reading and not metric.mlflow] == []
    row = values_of(ImbalanceMetric, given([0, 1], audio=of_classes(0, 1), video=of_classes(1, 1)), Task(3, TWO))
    names = ("shapley", "dependence", "fused_acc", "confidence", "train_confidence", "overfitting", "gradient_norm")
    shown = {f"imbalance/{key}_{name}" for key in names for name in TWO} | {"imbalance/contributions_apart"}
    assert set(shown_series({**row, "train/flops": 7, "epoch": 4})) == shown | {"train/flops"}


def test_flops_of_a_plain_step_by_hand():
    network, data = make_network(TWO), Toy(TWO)
    # Encoders 5 -> 6 -> 4 (no gradient of the inputs of the first layer), heads 4 -> 3, the fusion head 8 -> 3.
    encoder, head, fusion = 5 * 6 + 6 * 4, 4 * 3, 8 * 3
    forward = 2 * (2 * (encoder + head) + fusion)
    backward = 2 * (2 * (5 * 6 + 2 * 6 * 4 + 2 * head) + 2 * fusion)
    flops = EpochFlops(network, data)
    assert flops(None, Uniform(), 0, 10) == 10 * (forward + backward)
    learned = Learned(every=2)
    assert flops(None, learned, 2, 10) == 10 * (forward + backward) + len(data) * forward
    assert flops(None, learned, 1, 10) == flops(None, Uniform(), 1, 10)
    assert flops(None, replace(learned, measuring="online"), 2, 10) == flops(None, Uniform(), 2, 10)


def test_flops_of_strategies_by_hand():
    network, data = make_network(TWO), Toy(TWO)
    encoder = 2 * (5 * 6 + 6 * 4 + 5 * 6 + 2 * 6 * 4)  # forward and backward of one
    heads = 3 * 2 * (2 * 12 + 24)
    plain = 2 * encoder + heads
    flops = EpochFlops(network, data)
    run = start(Smp(order=TWO), network)
    run.begin_epoch(0, None)
    frozen = 2 * (5 * 6 + 2 * 6 * 4)  # no backward in one encoder,
    of_inputs = 2 * (4 * 3 + 4 * 3)  # nor of its features in its head; those in the fusion head are joined
    assert flops(run, Uniform(), 0, 10) == 10 * (plain - frozen - of_inputs // 2)
    run = start(MmPareto(), network)
    run.begin_epoch(0, None)
    assert flops(run, Uniform(), 0, 10) == 10 * (plain + 2 * frozen)  # two backward passes of each encoder
    # Remix: half of the samples show audio alone, and their video is not encoded.
    run = start(Remix(warm_up=0), network)
    run.begin_epoch(0, None)
    run.arrange(np.arange(22), lambda measure: np.tile([[0.0, 1.0], [1.0, 0.0]], (11, 1)))
    run.read = 22
    forward = 2 * (2 * (30 + 24 + 12) + 24)
    assert flops(run, Uniform(), 0, 22) == 22 * (encoder + heads - of_inputs // 2 + forward)


def test_flops_of_what_the_host_draws_are_those_of_the_expectation():
    network, data = make_network(TWO), Toy(TWO)
    plain = EpochFlops(network, data)(None, Uniform(), 0, 10)
    # Where it acts, the fusion head runs on both features, on each and on none, and then on what is left.
    acting = 2 * 4 * 8 * 3
    for execute, window, expected in ((1.0, (0.0, 1.0), acting), (0.25, (0.0, 1.0), acting / 4), (1.0, (0.5, 1.0), 0)):
        run = start(Opm(execute=execute, window=window), network)
        run.begin_epoch(0, None)
        assert EpochFlops(network, data)(run, Uniform(), 0, 10) == plain + 10 * expected


def test_flops_of_turns_by_hand():
    strategy = Mla()
    network = network_for(strategy, TWO)
    run = start(strategy, network)
    run.begin_epoch(0, None)
    run.read = 0
    encoder = 2 * (5 * 6 + 6 * 4 + 5 * 6 + 2 * 6 * 4)  # forward and backward of one
    head = 2 * 3 * 4 * 3
    observed = 2 * 8 * 3  # the fused logits of what was seen, forward only
    assert EpochFlops(network, Toy(TWO))(run, Uniform(), 0, 10) == 10 * (2 * (encoder + head) + observed)


@pytest.fixture
def history(pipeline, small_root, small_store, make_config, tmp_path):
    """Return a function that trains and returns the rows of history.csv and the bytes of the network."""
    from conftest import small_tree

    store, plans = Store.open(small_store), pipeline[0] / "plans"

    def run(every):
        tree = small_tree(small_root)
        tree["evaluation"] = {"imbalance_every": every}
        config = make_config(tree)
        plan = read_plan(plans, "bss-l", 0, store, config_to_tree(config.schedule.schedulers["bss-l"]))
        folder = tmp_path / f"every-{every}"
        folder.mkdir()
        train_trial(config, store, plan, "bss-l", 0, folder, lambda row: None)
        rows = list(csv.DictReader(io.StringIO((folder / "history.csv").read_text())))
        return rows, (folder / "model.pt").read_bytes(), read_json(folder / "metrics.json", "train"), folder, store

    return run


def test_measuring_changes_no_training_and_fills_its_columns_when_due(history):
    plain, measured = history(None), history(2)
    assert plain[1] == measured[1]
    final = {key: value for key, value in measured[2].items() if key.startswith("imbalance/")}
    assert plain[2] == {key: value for key, value in measured[2].items() if key not in final}
    names = ("probe", "val_probe", "sample_contribution", "idle")
    assert set(final) == {f"imbalance/{key}_{name}" for key in names for name in ("audio", "image", "vector")}
    assert read_contributions(plain[3], plain[4]) is None
    contributions = read_contributions(measured[3], measured[4])
    for name, column in contributions.items():
        assert final[f"imbalance/sample_contribution_{name}"] == pytest.approx(column.mean())
        assert final[f"imbalance/idle_{name}"] == pytest.approx((column <= 0).mean())
    assert set(final_values(measured[2])) - set(final_values(plain[2])) == set(final)
    columns = [column for column in measured[0][0] if column.startswith("imbalance/")]
    assert len(columns) == 1 + 3 * (len(metrics_of(ImbalanceMetric)) - 1)
    for epoch, (row, without) in enumerate(zip(measured[0], plain[0], strict=True)):
        assert {key: value for key, value in row.items() if key not in columns} == without
        due = (epoch + 1) % 2 == 0 or epoch + 1 == len(plain[0])
        assert (row["imbalance/dependence_audio"] != "") == due
        assert int(row["train/flops"]) > 0
