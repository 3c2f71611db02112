"""One value for each method, computed by hand or by another way."""

import copy
import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from toy import CLASSES, SGD, Toy, facts_of, make_network, setting_for, start, train

from bss.balance.draw import generator
from bss.config.decay import StepDecay
from bss.config.fusion import Gated
from bss.config.training import TrainConfig
from bss.strategies import Context, EpochPlan, Facts, Gradients, Seen
from bss.strategies.absent import running_means, start_means
from bss.strategies.agm import Agm, factors, shapley_logits
from bss.strategies.amss import Amss, unit_weights
from bss.strategies.dgl import Dgl
from bss.strategies.draw import Draw
from bss.strategies.gblending import GBlending, gains_over_overfitting
from bss.strategies.lfm import Lfm, divergence
from bss.strategies.mbsd import difference_of_sureness, distillation
from bss.strategies.mlb import Mlb
from bss.strategies.mmpareto import MmPareto
from bss.strategies.modality_dropout import ModalityDropout
from bss.strategies.mses import Mses
from bss.strategies.mslr import Mslr, ratio_to_mean
from bss.strategies.ogm import Ogm
from bss.strategies.pmr import closeness
from bss.strategies.scaling import scaled
from bss.strategies.shares import share_logits
from bss.strategies.smp import Smp
from bss.strategies.weights import Weighted
from bss.training.distributed.ranks import ALONE
from bss.training.probes import read_probes, train_probes

TWO = ("audio", "video")
CPU = torch.device("cpu")
BY_HAND = {"lr": 0.1, "momentum": 0.5, "weight_decay": 0.01}
"""`SGD` in torch's terms."""


def log(*values):
    return torch.tensor([values]).log()


def seen_of(network, data, rows=range(9)):
    """Return what a strategy sees of some samples."""
    inputs, labels = next(data.batches([list(rows)]))
    outputs = network(inputs)
    return Seen(network.activate(outputs.features), outputs.logits, outputs.fused, labels, network.fuse)


def context_of(strategy, network, state=None, epoch=0, epochs=4):
    setting = setting_for(network, epochs)
    return Context(setting, state or {}, epoch, EpochPlan(), strategy.weights(setting), torch.clone)


def facts(loss=None, accuracy=None, confidence=None):
    zeros = dict.fromkeys(TWO, 0.0)
    return Facts(loss or zeros, 0.0, accuracy or zeros, confidence or zeros)


def test_ogm():
    # Confidence .75 and .5: ratio 1.5, 1 - tanh(.3 * 1.5).
    found = Ogm(alpha=0.3).factors(torch.tensor([0.75, 0.5]))
    torch.testing.assert_close(found, torch.tensor([0.578101, 1.0]), atol=1e-6, rtol=0)
    smooth = Ogm(alpha=0.3, smooth=True).factors(torch.tensor([0.75, 0.5]))
    assert smooth[0] == pytest.approx(1 - math.tanh(0.15))
    # Three: against the mean of the others, .5; sums and means give the same.
    three = Ogm(alpha=0.3).factors(torch.tensor([7.5, 4.0, 6.0]))
    torch.testing.assert_close(three, torch.tensor([1 - math.tanh(0.45), 1.0, 1 - math.tanh(0.3 * 12 / 11.5)]))


def test_ogm_adds_noise_of_the_spread_of_the_gradient_before_scaling_also_where_the_factor_is_1():
    network = make_network(TWO)
    modules = start(Ogm(), network).modules
    random = torch.Generator().manual_seed(0)
    before = {}
    for p in network.parameters():
        p.grad = torch.randn(p.shape, generator=random)
    for name in TWO:
        before[name] = network.encoders[name].layers[2].weight.grad.clone()
    strategy = Ogm(alpha=0.3, noise=True)
    gathered = torch.tensor([0.75, 0.5, 1.0])
    drawn = {name: [] for name in TWO}
    for step in range(400):
        for name in TWO:
            network.encoders[name].layers[2].weight.grad.copy_(before[name])
        draw = Draw(0, 0, step, CPU)
        strategy.after(context_of(strategy, network), gathered, Gradients(modules), draw)
        for name in TWO:
            drawn[name].append(network.encoders[name].layers[2].weight.grad.clone())
    for name, factor in zip(TWO, (0.578101, 1.0), strict=True):
        values = torch.stack(drawn[name])
        torch.testing.assert_close(values.mean(dim=0), factor * before[name], atol=0.2, rtol=0)
        assert values.std(dim=0).mean() == pytest.approx(float(before[name].std()), rel=0.05)


def test_convolutions_alone_are_those_with_four_dimensions():
    part = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2), torch.nn.Linear(2, 2))
    for p in part.parameters():
        p.grad = torch.ones_like(p)
    gradients = Gradients({("encoder", "a"): part})
    assert [tuple(g.shape) for g in scaled(gradients, ("encoder", "a"), "convolutions")] == [(2, 1, 3, 3)]
    assert len(scaled(gradients, ("encoder", "a"), "all")) == 6


def test_mlb():
    found = Mlb(alpha=1.0, beta=2.0).factors(torch.tensor([0.75, 0.5]))
    torch.testing.assert_close(found, torch.tensor([0.678487, 1.462117]), atol=1e-6, rtol=0)
    steeper = Mlb(alpha=1.0, beta=3.0).factors(torch.tensor([0.75, 0.5]))
    torch.testing.assert_close(steeper, torch.tensor([0.678487, 1.924234]), atol=1e-6, rtol=0)


def test_the_other_direction_favours_the_surer_modality():
    slowed = Ogm(alpha=0.3, direction="strong")
    torch.testing.assert_close(slowed.factors(torch.tensor([0.75, 0.5])), torch.tensor([1.0, 1 - math.tanh(0.45)]))
    # Three: the others' means over each are 5 / 7.5, 6.75 / 4 and 5.75 / 6.
    three = slowed.factors(torch.tensor([7.5, 4.0, 6.0]))
    torch.testing.assert_close(three, torch.tensor([1.0, 1 - math.tanh(0.3 * 1.6875), 1.0]))
    modulated = Mlb(alpha=1.0, beta=3.0, direction="strong")
    # Ratios 1.5 and 2 / 3: 1 + 2 tanh(.5) and 1 - tanh(1 / 3).
    found = modulated.factors(torch.tensor([0.75, 0.5]))
    torch.testing.assert_close(found, torch.tensor([1.924234, 0.678487]), atol=1e-6, rtol=0)
    for strategy in (slowed, modulated):
        assert torch.equal(strategy.factors(torch.zeros(2))[:1] > 0, torch.tensor([True])), "finite at no confidence"


def test_agm():
    found = factors(torch.tensor([0.5, 1.0]), torch.tensor([0.4, 0.6]), 1.0)
    torch.testing.assert_close(found, torch.tensor([0.652256, 1.236395]), atol=1e-6, rtol=0)


def test_agm_on_a_fusion_that_is_not_additive_gives_the_encoder_the_gradient_of_its_scaled_share():
    # Features with z(a, v) = a + v - .6 a v + ... at which the gradients are g(z) = 1, g(z_a) = .4, g(z_v) = .2.
    a, v = torch.zeros(1, 1, requires_grad=True), torch.zeros(1, 1, requires_grad=True)
    k = dict(zip(TWO, (0.652256, 1.236395), strict=True))

    def fuse(features):
        # The others are zero where they are absent; here presence decides, as all values are 0.
        x, y = features["audio"], features["video"]
        together = (x.requires_grad and y.requires_grad) or (x.grad_fn is not None and y.grad_fn is not None)
        return x + y if together else 0.4 * x + 0.2 * y

    seen = Seen({"audio": a, "video": v}, {}, fuse({"audio": a, "video": v}), torch.zeros(1, dtype=torch.int64), fuse)
    shares = shapley_logits(seen)
    sum(k[name] * share.sum() for name, share in shares.items()).backward()
    assert float(a.grad) == pytest.approx(0.827498, abs=1e-6)
    assert float(v.grad) == pytest.approx(1.002739, abs=1e-6)


@pytest.mark.parametrize("names", [TWO, ("audio", "video", "text")])
def test_shapley_shares_sum_to_the_logits_whatever_the_fusion_and_are_the_shares_of_concatenation(names):
    for fusion in (None, Gated()):
        network = make_network(names, fusion)
        seen = seen_of(network, Toy(names))
        torch.testing.assert_close(sum(shapley_logits(seen).values()), seen.fused)
    network = make_network(names)
    seen = seen_of(network, Toy(names))
    head, start_at = network.fusion.head, 0
    for name, share in share_logits(seen).items():
        columns = head.weight[:, start_at : start_at + 4]
        start_at += 4
        expected = seen.features[name] @ columns.T + head.bias / len(names)
        torch.testing.assert_close(share, expected)
        torch.testing.assert_close(shapley_logits(seen)[name], expected)


def test_agm_trains_on_the_fused_logits_themselves_and_scales_what_reaches_the_encoders():
    network = make_network(TWO, Gated())
    strategy = Agm(window=(0.0, 1.0), loss="published")
    context = context_of(strategy, network, {"means": torch.tensor([0.4, 0.6]), "steps": torch.tensor(3.0)})
    seen = seen_of(network, Toy(TWO))
    (objective,) = strategy.objectives(context, seen)
    torch.testing.assert_close(objective.loss, F.cross_entropy(seen.fused, seen.labels, reduction="none"))
    got = torch.autograd.grad(objective.loss.sum(), list(seen.features.values()), retain_graph=True)
    shares = shapley_logits(seen)
    entropies = torch.stack([F.cross_entropy(z, seen.labels) for z in shares.values()]).detach()
    means = torch.tensor([0.4, 0.6]) + (entropies - torch.tensor([0.4, 0.6])) / 4
    scales = torch.exp(torch.exp(means.flip(0) - means) - torch.exp(entropies.flip(0) - entropies))
    (at_logits,) = torch.autograd.grad(
        F.cross_entropy(seen.fused, seen.labels, reduction="sum"), seen.fused, retain_graph=True
    )
    scaled_sum = sum(k * (at_logits * share).sum() for k, share in zip(scales, shares.values(), strict=True))
    expected = torch.autograd.grad(scaled_sum, list(seen.features.values()))
    for mine, right in zip(got, expected, strict=True):
        torch.testing.assert_close(mine, right, atol=1e-6, rtol=1e-4)


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
                p.add_(1)  # the training of this epoch
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


def test_amss():
    strategy = Amss(temperature=1.0)
    above, significance = torch.tensor([1.0, 1.0]), torch.tensor([2.0, 1.0])
    assert strategy.shares(above, significance)[0] == pytest.approx(0.268941, abs=1e-6)
    sharper = Amss(temperature=0.2).shares(above, significance)
    torch.testing.assert_close(sharper, torch.tensor([0.1, 0.9]))
    assert Amss(temperature=0.2).shares(torch.tensor([1.0, 0.0]), significance).tolist() == [0.5, 0.5]
    chances = torch.full((64,), 1 / 64)
    assert int((strategy.factors(chances, sharper[0], torch.Generator().manual_seed(0)) > 0).sum()) == 7
    chances = torch.tensor([0.4, 0.3, 0.2, 0.1])
    torch.testing.assert_close(
        unit_weights(chances, 2, "code")[:2], torch.tensor([1.538462, 1.818182]), atol=1e-6, rtol=0
    )
    torch.testing.assert_close(
        unit_weights(chances, 2, "unbiased")[:2], torch.tensor([1.25, 1.666667]), atol=1e-6, rtol=0
    )


def test_amss_draws_units_without_replacement_by_their_chances():
    chances = torch.tensor([0.5, 0.3, 0.2, 0.0])
    random = torch.Generator().manual_seed(0)
    strategy = Amss(bounds=(0.0, 1.0))
    drawn = torch.stack([strategy.factors(chances, torch.tensor(0.5), random) for _ in range(4000)])
    assert (drawn.sum(dim=1) == 2).all()
    # P(first or second): p + sum over j of p_j p / (1 - p_j).
    expected = [0.5 + 0.3 * 0.5 / 0.7 + 0.2 * 0.5 / 0.8, 0.3 + 0.5 * 0.3 / 0.5 + 0.2 * 0.3 / 0.8]
    torch.testing.assert_close(drawn.mean(dim=0)[:2], torch.tensor(expected), atol=0.03, rtol=0)
    assert drawn[:, 3].sum() == 0


def test_amss_masks_whole_units_of_a_layer():
    network = make_network(TWO)
    train(Amss(), network, Toy(TWO), epochs=1)  # leaves the gradients of the last step
    layer = network.encoders["audio"].layers[2]
    kept = layer.weight.grad.abs().sum(dim=1) > 0
    assert 0 < int(kept.sum()) < len(kept)
    assert (layer.bias.grad[~kept] == 0).all()


def test_pmr():
    prototypes = torch.tensor([[0.0, 0.0], [3.0, 4.0]])
    found = closeness(torch.zeros(1, 2), prototypes, torch.tensor([True, True]))
    assert float(found.softmax(dim=1)[0, 0]) == pytest.approx(0.993307, abs=1e-6)
    assert float(F.cross_entropy(found, torch.tensor([0]))) == pytest.approx(0.00671535, abs=1e-6)
    x = torch.zeros(1, 2, requires_grad=True)
    closeness(x, prototypes, torch.tensor([True, False])).log_softmax(dim=1)[0, 0].backward()
    assert torch.isfinite(x.grad).all()


def test_pmr_keeps_means_of_the_features_of_each_class():
    from bss.strategies.pmr import Pmr

    network, data = make_network(TWO), Toy(TWO)
    still = SGD.__class__("sgd", learning_rate=1e-12, momentum=0.0)
    run = train(Pmr(), network, data, epochs=2, optimiser=still)
    features = network.activate(network(data.inputs).features)
    for name, x in features.items():
        for label in range(CLASSES):
            right = x[data.labels == label].mean(dim=0)
            torch.testing.assert_close(run.context.state["prototypes"][name][label], right, atol=1e-5, rtol=1e-4)
    assert run.context.state["known"].all()


def test_pmr_from_a_pass_has_the_means_of_all_samples_before_the_first_epoch():
    from bss.strategies.pmr import Pmr

    network, data = make_network(TWO), Toy(TWO)
    features = network.eval().activate(network(data.inputs).features)
    run = start(Pmr(prototypes="pass"), network)
    run.begin_epoch(0, facts_of(run, {"train": data}))
    state = run.context.state
    for name, x in features.items():
        right = torch.stack([x[data.labels == label].mean(dim=0) for label in range(CLASSES)])
        torch.testing.assert_close(state["prototypes"][name], right, atol=1e-6, rtol=1e-5)
    assert run.strategy.phase(run.context) == (True, False, False)
    # 0.2 of the old ones and 0.8 of the new ones, which are twice as far from zero.
    old = {name: x.clone() for name, x in state["prototypes"].items()}
    for part in network.encoders.values():
        part.layers[-1].weight.data.mul_(2)
        part.layers[-1].bias.data.mul_(2)
    run.begin_epoch(1, facts_of(run, {"train": data}))
    for name, x in old.items():
        torch.testing.assert_close(run.context.state["prototypes"][name], 1.8 * x, atol=1e-6, rtol=1e-5)


def test_pmr_slows_the_best_modality_early_by_the_entropy_of_its_closeness():
    from bss.strategies.pmr import Pmr

    network = make_network(TWO)
    prototypes = torch.tensor([[0.0, 0.0], [3.0, 4.0]])
    state = {"prototypes": dict.fromkeys(TWO, prototypes), "known": torch.tensor([True, True])}
    features = {"audio": torch.zeros(1, 2), "video": torch.tensor([[3.0, 4.0]])}
    seen = Seen(features, dict.fromkeys(TWO, torch.zeros(1, 2)), torch.zeros(1, 2), torch.tensor([0]), torch.clone)

    def loss(epoch, **changes):
        strategy = Pmr(entropy_window=(0.0, 0.5), **changes)
        return float(strategy.objectives(context_of(strategy, network, state, epoch, 10), seen)[0].loss)

    # Audio is sure of class 0 by .993307, video by .006693: video is behind by 1, and the entropy of audio is
    # .0401796.
    plain = 3 * math.log(2)
    assert loss(1) == pytest.approx(plain + 5.00671535, abs=2e-6)
    assert loss(1, entropy=2.0) == pytest.approx(plain + 5.00671535 - 2 * 0.0401796, abs=2e-6)
    assert loss(5, entropy=2.0) == loss(5), "the entropy window has ended"


def test_lfm():
    p, q = log(0.8, 0.2), log(0.4, 0.6)
    assert float(divergence(p, q, "js")) == pytest.approx(0.0863046, abs=1e-6)
    assert float(divergence(p, q, "code")) == pytest.approx(0.0928713, abs=1e-6)
    curve = [Lfm().classification(epoch, 200) for epoch in (0, 50, 100, 150, 199)]
    assert curve == pytest.approx([0.2046, 0.4367, 0.5392, 0.8213, 0.9160])
    assert [Lfm(schedule="linear").classification(e, 11) for e in (0, 5, 10)] == pytest.approx([0.2, 0.55, 0.9])


def test_lfm_aligns_only_what_a_sample_shows():
    p, q = log(0.8, 0.2).repeat(2, 1), log(0.4, 0.6).repeat(2, 1)
    q[1] = 0  # as the logits of what is ignored are
    labels, fused = torch.tensor([0, 0]), torch.zeros(2, 2)
    ignored = torch.tensor([[False, False], [False, True]])
    seen = Seen({}, {"audio": p, "video": q}, fused, labels, torch.clone, ignored=ignored)
    torch.testing.assert_close(Lfm().losses(seen)[1], torch.tensor([0.0863046, 0.0]), atol=1e-6, rtol=0)
    # Three, the last of which is ignored: the pair that is left alone counts.
    logits = {"a": p[:1], "b": log(0.4, 0.6), "c": torch.zeros(1, 2)}
    three = Seen({}, logits, fused[:1], labels[:1], torch.clone, ignored=torch.tensor([[False, False, True]]))
    torch.testing.assert_close(Lfm().losses(three)[1], torch.tensor([0.0863046]), atol=1e-6, rtol=0)


def test_lfm_learns_its_weight_along_the_val_loss_after_one_step():
    strategy = Lfm(schedule="learned", look_ahead=0.3, rate=0.7)
    network = make_network(TWO).double().eval()
    data = Toy(TWO)
    data.inputs = {name: x.double() for name, x in data.inputs.items()}
    start_of = {name: x.clone() for name, x in network.state_dict().items()}

    def val_loss(weight):
        one = seen_of(network, data)
        p, q = (z.log_softmax(dim=1) for z in one.logits.values())
        mean = F.cross_entropy(sum(one.logits.values()) / 2, one.labels)
        loss = 2 * (weight * mean + (1 - weight) * divergence(p, q, "js").mean())
        step = torch.autograd.grad(loss, list(network.parameters()), allow_unused=True)
        with torch.no_grad():
            for x, g in zip(network.parameters(), step, strict=True):
                x.sub_(0 if g is None else 0.3 * g)
            other = seen_of(network, data, range(9, 20))
            found = F.cross_entropy(sum(other.logits.values()) / 2, other.labels)
            network.load_state_dict(start_of)
        return float(found)

    slope = (val_loss(0.2046 + 1e-4) - val_loss(0.2046 - 1e-4)) / 2e-4
    assert slope < 0, "more classification lowers the val loss"
    batches = {"train": lambda: seen_of(network, data), "val": lambda: seen_of(network, data, range(9, 20))}
    modules = {("encoder", name): network.encoders[name] for name in TWO}
    modules |= {("head", name): network.heads[name] for name in TWO}
    context = context_of(strategy, network, strategy.start(setting_for(network), modules, CLASSES), epoch=1)
    strategy.adapt(context, batches, modules)
    assert context.state["weight"] == pytest.approx(0.2046 - 0.7 * slope, rel=1e-6)
    for name, x in network.state_dict().items():
        assert torch.equal(x, start_of[name]), name
    (objective,) = strategy.objectives(context, seen_of(network, data))
    classified, apart = strategy.losses(seen_of(network, data))
    weight = context.state["weight"]
    torch.testing.assert_close(objective.loss, 2 * (weight * classified + (1 - weight) * apart))
    assert not strategy.adapts(context_of(strategy, network, epoch=0))
    assert strategy.needs_val
    assert not Lfm().needs_val


def test_mbsd():
    logits = {"audio": log(0.7, 0.3), "video": log(0.4, 0.6)}
    label = torch.tensor([0])
    assert float(difference_of_sureness(logits, label)) == pytest.approx(0.3)
    both_wrong = {"audio": log(0.4, 0.6), "video": log(0.1, 0.9)}
    assert float(difference_of_sureness(both_wrong, label)) == 0
    distance = ((math.log(0.7 / 0.4)) ** 2 + (math.log(0.3 / 0.6)) ** 2) / 2
    divergence = 0.7 * math.log(0.7 / 0.4) + 0.3 * math.log(0.3 / 0.6)
    assert float(distillation(logits, label)) == pytest.approx(0.3 * (distance + divergence), abs=1e-6)
    # A third modality that the sample does not show changes nothing, and alone with it there is no pair.
    logits["touch"] = torch.zeros(1, 2)
    ignored = torch.tensor([[False, False, True]])
    assert float(distillation(logits, label, ignored)) == pytest.approx(0.3 * (distance + divergence), abs=1e-6)
    assert float(distillation(logits, label, torch.tensor([[False, True, True]]))) == 0


def test_the_fused_loss_alone_leaves_the_heads_as_they_are():
    network, before = make_network(TWO), make_network(TWO)
    strategy = Weighted(fused=1.0, unimodal=0.0)
    assert strategy.prediction(setting_for(network)) == "fused"
    train(strategy, network, Toy(TWO))
    for name, value in before.state_dict().items():
        assert torch.equal(value, network.state_dict()[name]) == name.startswith("heads."), name


def test_independent_networks_leave_the_fusion_head_and_learn_what_each_would_alone():
    network, before = make_network(TWO), make_network(TWO)
    strategy = Weighted(fused=0.0)
    assert strategy.prediction(setting_for(network)) == "unimodal-heads"
    train(strategy, network, Toy(TWO))
    assert torch.equal(network.fusion.head.weight, before.fusion.head.weight)
    # Another modality's inputs change nothing.
    other, data = make_network(TWO), Toy(TWO)
    data.inputs["video"] = -data.inputs["video"]
    train(strategy, other, data)
    for name, value in network.encoders["audio"].state_dict().items():
        assert torch.equal(value, other.encoders["audio"].state_dict()[name])


@pytest.mark.parametrize("factor", [1.5, 3.0])
def test_encoder_gradients_are_scaled_and_no_others(factor):
    plain, other = make_network(TWO), make_network(TWO)
    data = Toy(TWO)
    train(None, plain, data, batch_size=len(data), epochs=1)
    train(Weighted(encoder_gradients=factor), other, data, batch_size=len(data), epochs=1)
    for (name, mine), right in zip(other.named_parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, right.grad * (factor if name.startswith("encoders.") else 1))


def test_four_times_unimodal_and_smoothed_labels_are_the_losses_that_they_say():
    network, data = make_network(TWO), Toy(TWO)
    seen = seen_of(network, data)
    for strategy, unimodal, smoothing in ((Weighted(unimodal=4.0), 4, 0.0), (Weighted(label_smoothing=0.1), 1, 0.1)):
        (objective,) = strategy.objectives(context_of(strategy, network), seen)
        ce = lambda z, smoothing=smoothing: F.cross_entropy(z, seen.labels, reduction="none", label_smoothing=smoothing)  # noqa: E731
        torch.testing.assert_close(objective.loss, ce(seen.fused) + unimodal * sum(map(ce, seen.logits.values())))


def test_modality_dropout_hides_one_modality_of_a_share_of_the_samples():
    network, data = make_network(TWO), Toy(TWO, samples=3000)
    seen = seen_of(network, data, range(3000))
    mixed = ModalityDropout(rate=0.4).mix(context_of(ModalityDropout(), network), seen, Draw(0, 0, 0, CPU, 1, 3000))
    hidden = {name: (x == 0).all(dim=1) & (seen.features[name] != 0).any(dim=1) for name, x in mixed.features.items()}
    assert not (hidden["audio"] & hidden["video"]).any()
    for rows in hidden.values():
        assert float(rows.float().mean()) == pytest.approx(0.2, abs=0.03)
    assert not mixed.heads


def test_the_running_mean_of_features_that_samples_show():
    strategy, network = ModalityDropout(absent="mean"), make_network(TWO)
    state = start_means("mean", setting_for(network), start(strategy, network).modules)
    context = context_of(strategy, network, state)
    x = torch.tensor([[1.0], [3.0], [50.0]]).expand(3, 4)
    seen = replace(seen_of(network, Toy(TWO), range(3)), features={"audio": x, "video": x})
    shown = {"audio": torch.tensor([True, True, False]), "video": torch.zeros(3, dtype=torch.bool)}
    means = running_means(context, seen, shown)
    # The first part counts in full; the second has a tenth of the weight, over 0.1 + 0.9 x 0.1.
    assert (means["audio"].tolist(), means["video"].tolist()) == ([2.0] * 4, [0.0] * 4)
    shown["video"] = torch.ones(3, dtype=torch.bool)
    means = running_means(context, replace(seen, features={"audio": x + 4, "video": x}), shown)
    assert means["audio"].tolist() == pytest.approx([(0.9 * 0.1 * 2 + 0.1 * 6) / 0.19] * 4)
    assert means["video"].tolist() == pytest.approx([18.0] * 4)
    means = running_means(context, seen, dict.fromkeys(TWO, torch.zeros(3, dtype=torch.bool)))
    assert means["video"].tolist() == pytest.approx([18.0] * 4)


def test_features_that_a_decision_hides_do_not_count_in_the_running_mean():
    strategy, network = ModalityDropout(rate=1.0, absent="mean"), make_network(TWO)
    state = strategy.start(setting_for(network), start(strategy, network).modules, CLASSES)
    seen = seen_of(network, Toy(TWO), range(22))
    ignored = torch.zeros(22, 2, dtype=torch.bool)
    ignored[:5, 0] = True
    hidden = {"audio": seen.features["audio"].masked_fill(ignored[:, :1], 0), "video": seen.features["video"]}
    seen = replace(seen, features=hidden, ignored=ignored)
    found = strategy.mix(context_of(strategy, network, state), seen, Draw(0, 0, 0, CPU, 1, 22)).features
    for name, expected in (("audio", hidden["audio"][5:].mean(dim=0)), ("video", hidden["video"].mean(dim=0))):
        changed = (found[name] != hidden[name]).any(dim=1)
        assert changed.any()
        torch.testing.assert_close(found[name][changed], expected.expand(int(changed.sum()), -1))


def test_modality_dropout_can_put_the_mean_in_the_place_of_features():
    network, data, draw = make_network(TWO), Toy(TWO), Draw(0, 0, 0, CPU, 1, 22)
    seen = seen_of(network, data, range(22))
    zeros = ModalityDropout(rate=0.9).mix(context_of(ModalityDropout(), network), seen, draw).features
    strategy = ModalityDropout(rate=0.9, absent="mean")
    state = strategy.start(setting_for(network), start(strategy, network).modules, CLASSES)
    found = strategy.mix(context_of(strategy, network, state), seen, draw).features
    for name, x in seen.features.items():
        hidden = (zeros[name] != x).any(dim=1)
        assert 0 < hidden.sum() < 22
        torch.testing.assert_close(found[name], torch.where(hidden[:, None], x.mean(dim=0), x))


def test_mixup_mixes_features_and_targets_by_one_share():
    from bss.strategies.mixup import Mixup

    network, data = make_network(TWO), Toy(TWO)
    seen = seen_of(network, data, range(22))
    mixed = Mixup(alpha=1.0).mix(context_of(Mixup(), network), seen, Draw(0, 0, 5, CPU, 1, 22))
    torch.testing.assert_close(mixed.targets.sum(dim=1), torch.ones(22))
    share = float(Draw(0, 0, 5, CPU, 1, 22).host("mixup").beta(1.0, 1.0))
    partner = Draw(0, 0, 5, CPU, 1, 22).uniform("mixup pairs").argsort()
    for name, x in seen.features.items():
        torch.testing.assert_close(mixed.features[name], share * x + (1 - share) * x[partner])
    own = mixed.targets[torch.arange(22), seen.labels]
    same = seen.labels == seen.labels[partner]
    torch.testing.assert_close(own, torch.where(same, 1.0, share))


@pytest.mark.parametrize("through", ["shared", "heads"])
def test_dgl_trains_encoders_by_unimodal_losses_and_the_fusion_head_by_the_fused_one(through):
    network, data = make_network(TWO), Toy(TWO)
    seen = seen_of(network, data, range(22))
    if through == "heads":
        alone = list(seen.logits.values())
    else:
        zeros = {name: torch.zeros_like(x) for name, x in seen.features.items()}
        alone = [network.fuse(zeros | {name: seen.features[name]}) for name in TWO]
    unimodal = 4 * sum(F.cross_entropy(z, seen.labels) for z in alone)
    encoders = list(network.encoders.parameters())
    expected = torch.autograd.grad(unimodal, encoders)
    of_fusion = torch.autograd.grad(F.cross_entropy(seen.fused, seen.labels), list(network.fusion.parameters()))
    train(Dgl(through=through), network, data, batch_size=22, epochs=1)
    for p, right in zip(encoders, expected, strict=True):
        torch.testing.assert_close(p.grad, right, atol=1e-6, rtol=1e-4)
    for p, right in zip(network.fusion.parameters(), of_fusion, strict=True):
        torch.testing.assert_close(p.grad, right, atol=1e-6, rtol=1e-4)
    assert all((p.grad is not None) == (through == "heads") for p in network.heads.parameters())
    assert Dgl(through=through).prediction(setting_for(network)) == ("fused" if through == "shared" else None)


@pytest.mark.parametrize("norm", ["modality", "tensor"])
def test_mmpareto(norm):
    strategy = MmPareto(norm=norm)
    a = [torch.tensor([1.0, 0.0])]
    torch.testing.assert_close(strategy.combined(a, [torch.tensor([-1.0, 1.0])])[0], torch.tensor([0.670820, 1.341641]))
    torch.testing.assert_close(strategy.combined(a, [torch.tensor([1.0, 1.0])])[0], torch.tensor([3.0, 1.5]))
    assert strategy.combined(a, [torch.tensor([-1.0, 0.0])])[0].tolist() == [0.0, 0.0]
    equal = MmPareto(norm=norm, weighing="equal").combined(a, [torch.tensor([-1.0, 1.0])])[0]
    torch.testing.assert_close(equal, torch.tensor([0.0, 1.5]))


def test_mmpareto_with_equal_weights_is_plain_training_with_encoder_gradients_times_its_factor():
    one, other, data = make_network(TWO), make_network(TWO), Toy(TWO)
    train(MmPareto(weighing="equal"), one, data)
    train(Weighted(encoder_gradients=1.5), other, data)
    for mine, right in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(mine, right, atol=1e-5, rtol=1e-4)
