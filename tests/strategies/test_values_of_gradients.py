"""Strategies that change gradients: values computed by hand or by another way."""

import math

import pytest
import torch
import torch.nn.functional as F
from toy import CPU, TWO, Toy, context_of, make_network, seen_of, setting_for, start, train

from bss.config.fusion import Gated
from bss.strategies import Gradients, Seen
from bss.strategies.agm import Agm, factors, shapley_logits
from bss.strategies.amss import Amss, unit_weights
from bss.strategies.dgl import Dgl
from bss.strategies.draw import Draw
from bss.strategies.mlb import Mlb
from bss.strategies.mmpareto import MmPareto
from bss.strategies.ogm import Ogm
from bss.strategies.scaling import scaled
from bss.strategies.shares import share_logits
from bss.strategies.weights import Weighted


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
    state = {"means": torch.tensor([0.4, 0.6]), "steps": torch.tensor(3.0), "sums": torch.zeros(3)}
    context = context_of(strategy, network, state)
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


@pytest.mark.parametrize("factor", [1.5, 3.0])
def test_encoder_gradients_are_scaled_and_no_others(factor):
    plain, other = make_network(TWO), make_network(TWO)
    data = Toy(TWO)
    train(None, plain, data, batch_size=len(data), epochs=1)
    train(Weighted(encoder_gradients=factor), other, data, batch_size=len(data), epochs=1)
    for (name, mine), right in zip(other.named_parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, right.grad * (factor if name.startswith("encoders.") else 1))


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
