"""Strategies that plan epochs (weights, rates, what is frozen): values computed by hand or by another way."""

import copy

import pytest
import torch
import torch.nn.functional as F
from toy import (
    CLASSES,
    SGD,
    TWO,
    Toy,
    context_of,
    facts,
    make_network,
    setting_for,
    start,
    train,
)

from bss.balance.draw import generator
from bss.config.decay import StepDecay
from bss.config.training import TrainConfig
from bss.strategies import EpochPlan, Facts
from bss.strategies.gblending import GBlending, gains_over_overfitting
from bss.strategies.mses import Mses
from bss.strategies.mslr import Mslr, ratio_to_mean
from bss.strategies.smp import Smp
from bss.training.distributed.ranks import ALONE
from bss.training.strategy.probes import read_probes, train_probes

BY_HAND = {"lr": 0.1, "momentum": 0.5, "weight_decay": 0.01}
"""`SGD` in torch's terms."""


def test_g_blending():
    before = {"train": [1.0, 1.0, 1.0], "val": [1.1, 1.1, 1.1]}
    now = {"train": [0.6, 0.8, 0.4], "val": [0.9, 1.0, 0.8]}
    assert gains_over_overfitting(before, now) == pytest.approx([5, 10, 10 / 3])
    worse = gains_over_overfitting({"train": [1.0], "val": [1.0]}, {"train": [0.9], "val": [1.2]})
    assert worse == [0.0]
    level = gains_over_overfitting({"train": [1.0], "val": [1.0]}, {"train": [0.9], "val": [0.9]})
    assert level == pytest.approx([0.1 / 1e-8])


def test_g_blending_weighs_with_the_sum_of_its_first_weights():
    network = make_network(TWO)
    for loss, total in (("published", 1.0), ("product", 3.0)):
        strategy = GBlending(every=2, loss=loss)
        context = context_of(strategy, network, strategy.start(setting_for(network), {}, CLASSES))
        first = Facts(dict.fromkeys(TWO, 1.0), 1.0, {}, {})
        val = Facts(dict.fromkeys(TWO, 1.1), 1.1, {}, {})
        assert strategy.plan(context, {"train": first, "val": val}, {}).weights is None
        train_now, val_now = (
            Facts({"audio": 0.8, "video": 0.4}, 0.6, {}, {}),
            Facts({"audio": 1.0, "video": 0.8}, 0.9, {}, {}),
        )
        weights = strategy.plan(context, {"train": train_now, "val": val_now}, {}).weights
        assert weights.fused == pytest.approx(total * 0.272727, abs=1e-5)
        assert weights.unimodal == pytest.approx({"audio": total * 0.545455, "video": total * 0.181818}, abs=1e-5)
        # All heads got worse: the weights stay.
        rising = Facts(dict.fromkeys(TWO, 2.0), 2.0, {}, {})
        assert strategy.plan(context, {"train": rising, "val": rising}, {}).weights == weights


def test_g_blending_by_probes_weighs_at_once_by_what_each_probe_gained():
    strategy = GBlending(probe="train", loss="published")
    context = context_of(strategy, make_network(TWO), strategy.start(setting_for(make_network(TWO)), {}, CLASSES))

    def same(loss):
        return Facts(dict.fromkeys(TWO, loss), loss, {}, {})

    probed_train = Facts({"audio": 0.8, "video": 0.4}, 0.6, {}, {})
    probed_val = Facts({"audio": 1.0, "video": 0.8}, 0.9, {}, {})
    found = {"train": same(1.0), "val": same(1.1), "probed train": probed_train, "probed val": probed_val}
    weights = strategy.plan(context, found, {}).weights
    assert weights.fused == pytest.approx(0.272727, abs=1e-5)
    assert weights.unimodal == pytest.approx({"audio": 0.545455, "video": 0.181818}, abs=1e-5)
    # The next estimate compares with the network itself, not with the last probes: audio alone gains now.
    found |= {"train": probed_train, "val": probed_val, "probed val": Facts({"audio": 0.5, "video": 0.8}, 0.9, {}, {})}
    weights = strategy.plan(context, found, {}).weights
    assert (weights.fused, weights.unimodal) == (0.0, {"audio": pytest.approx(1.0), "video": 0.0})


def test_probes_train_each_modality_alone_and_the_whole_by_the_fused_loss():
    network, data = make_network(TWO), Toy(TWO)
    before = copy.deepcopy(network.state_dict())
    run = start(GBlending(probe="train"), network)
    run.context.epoch = 1
    config = TrainConfig(SGD, epochs=4, batch_size=8, decay=StepDecay(at=(2,), factor=0.1))
    probes = train_probes(run, config, data, 2)
    for name, x in network.state_dict().items():
        assert torch.equal(x, before[name]), name

    def by_hand(parts, loss_of):
        own = make_network(TWO)
        optimiser = torch.optim.SGD([p for part in parts(own) for p in part.parameters()], **BY_HAND)
        for epoch, rate in ((1, 0.1), (2, 0.01)):
            optimiser.param_groups[0]["lr"] = rate
            order = generator(0, "strategy probe 1", epoch).permutation(len(data))
            for batch in (order[:8], order[8:16], order[16:]):
                inputs, labels = next(data.batches([batch]))
                optimiser.zero_grad()
                loss_of(own(inputs), labels).backward()
                optimiser.step()
        return own(data.inputs).detached()

    for name in TWO:
        alone = by_hand(
            lambda own, name=name: (own.encoders[name], own.heads[name]),
            lambda outputs, labels, name=name: F.cross_entropy(outputs.logits[name], labels),
        )
        right = float(F.cross_entropy(alone.logits[name], data.labels))
        assert read_probes(probes, data, ALONE).loss[name] == pytest.approx(right, abs=1e-6)
    fused = by_hand(
        lambda own: (*own.encoders.values(), own.fusion),
        lambda outputs, labels: F.cross_entropy(outputs.fused, labels),
    )
    right = float(F.cross_entropy(fused.fused, data.labels))
    assert read_probes(probes, data, ALONE).fused_loss == pytest.approx(right, abs=1e-6)


def test_mslr():
    assert ratio_to_mean(0.6, [0.5] * 5) == pytest.approx(1.2)
    assert ratio_to_mean(0.6, []) == 1
    network = make_network(TWO)
    strategy = Mslr(coefficients={"audio": 0.5})
    context = context_of(strategy, network, strategy.start(setting_for(network), {}, CLASSES), epoch=1)
    for accuracy in (0.1, 0.5, 0.5, 0.5, 0.5, 0.5):
        strategy.plan(context, {"val": facts(accuracy=dict.fromkeys(TWO, accuracy))}, {})
    plan = strategy.plan(context, {"val": facts(accuracy=dict.fromkeys(TWO, 0.6))}, {})
    assert plan.rates == pytest.approx({"audio": 0.6, "video": 1.2})


def test_mslr_smooth_ends_at_the_mean():
    network = make_network(TWO)
    strategy = Mslr(mode="smooth", coefficients={"audio": 0.5})
    rates = [strategy.plan(context_of(strategy, network, epoch=epoch), {}, {}).rates for epoch in (0, 1, 3)]
    assert [r["audio"] for r in rates] == pytest.approx([0.5, 0.75 - 0.25 * 2 / 3, 0.75])
    assert [r["video"] for r in rates] == pytest.approx([1.0, 0.75 + 0.25 * 2 / 3, 0.75])
    assert Mslr().needs_val
    assert not strategy.needs_val


def test_rates_are_those_of_the_optimiser():
    """One step of SGD without momentum moves encoder and head by their rates, and the fusion head by the plain one."""
    plain, other = make_network(TWO), make_network(TWO)
    start_at = make_network(TWO)
    still = SGD.__class__("sgd", learning_rate=0.1, momentum=0.0)
    data = Toy(TWO)
    train(None, plain, data, batch_size=len(data), epochs=1, optimiser=still)
    train(Mslr(mode="keep", coefficients={"audio": 0.5}), other, data, batch_size=len(data), epochs=1, optimiser=still)
    for name, first in start_at.named_parameters():
        moved, rate = (
            (dict(n.named_parameters())[name] - first for n in (plain, other)),
            0.5 if ".audio." in name else 1,
        )
        whole, part = moved
        torch.testing.assert_close(part, rate * whole, atol=1e-6, rtol=1e-4)


def test_mses_stops_after_its_patience_and_restores_the_best_weights_of_that_modality():
    network = make_network(TWO)
    strategy = Mses(patience=3, smoothing=0.0)
    modules = start(strategy, network).modules
    context = context_of(strategy, network, strategy.start(setting_for(network), modules, CLASSES), epoch=1)
    at_best, frozen = None, []
    for epoch, loss in enumerate([1.0, 0.8, 0.85, 0.9, 0.95]):
        with torch.no_grad():
            for p in network.parameters():
                p.add_(1)  # the trial of this epoch
        if epoch == 1:
            at_best = {name: p.clone() for name, p in network.named_parameters()}
        plan = strategy.plan(context, {"val": facts(loss={"audio": loss, "video": 1 - epoch / 10})}, modules)
        frozen.append(plan.frozen)
    assert frozen == [(), (), (), (), (("encoder", "audio"), ("head", "audio"))]
    for name, p in network.named_parameters():
        assert torch.equal(p, at_best[name]) == (".audio." in name), name


def test_smp_opens_the_encoders_from_the_weakest_on():
    network = make_network(("audio", "video", "text"))
    strategy = Smp(order=("text", "audio", "video"))
    state = strategy.start(setting_for(network), {}, CLASSES)
    frozen = [strategy.plan(context_of(strategy, network, state, epoch, 8), {}, {}).frozen for epoch in range(8)]
    one, two = (("encoder", "audio"), ("encoder", "video")), (("encoder", "video"),)
    assert frozen == [one, one, two, two, (), (), (), ()]


def test_smp_finds_the_order_after_its_warm_up():
    network = make_network(TWO)
    strategy = Smp(warm_up=2, until=(0.75,))
    state = strategy.start(setting_for(network), {}, CLASSES)
    reads = [strategy.reads(context_of(strategy, network, state, epoch)) for epoch in range(4)]
    assert reads == [False, False, True, False]
    assert strategy.plan(context_of(strategy, network, state, 1), {}, {}).frozen == ()
    found = {"train": facts(confidence={"audio": 0.4, "video": 0.3})}
    assert strategy.plan(context_of(strategy, network, state, 2), found, {}).frozen == (("encoder", "audio"),)
    assert strategy.plan(context_of(strategy, network, state, 3), {}, {}).frozen == ()


def test_what_is_frozen_stays_whatever_momentum_and_weight_decay_and_batch_statistics_want():
    network = make_network(TWO)
    network.encoders["audio"].layers[1] = torch.nn.BatchNorm1d(5)
    network.encoders["video"].layers[1] = torch.nn.BatchNorm1d(5)
    data = Toy(TWO)
    snapshots = []
    plan = Smp(order=("video", "audio"), until=(1.0,))

    class Late(Smp):
        def plan(self, context, facts, modules):
            snapshots.append({name: value.clone() for name, value in network.state_dict().items()})
            return plan.plan(context, facts, modules) if context.epoch == 1 else EpochPlan()

    train(Late(order=("video", "audio"), until=(1.0,)), network, data, epochs=3)
    for name, value in snapshots[1].items():
        of_audio = name.startswith("encoders.audio.")
        assert torch.equal(value, snapshots[2][name]) == of_audio, name
    assert all(p.requires_grad for p in network.parameters())
    assert network.encoders["audio"].layers[1].num_batches_tracked == 6  # two epochs of three steps
