"""Forms of the papers' public code, against values computed by hand or by another way."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from toy import CLASSES, CPU, TWO, WIDTH, Toy, context_of, facts_of, make_network, seen_of, setting_for, start, train

from bss.config.encoders import MlpConfig
from bss.config.fusion import Concatenation, Gated
from bss.config.schema import NetworkConfig
from bss.data.store import Modality
from bss.models.network import MultiModalNetwork
from bss.strategies import Gradients, Seen, Taught
from bss.strategies.agm import Agm
from bss.strategies.amss import Amss, masked_layers
from bss.strategies.cml import Cml
from bss.strategies.draw import Draw
from bss.strategies.g2d import G2d
from bss.strategies.inforeg import InfoReg
from bss.strategies.pmr import Pmr
from bss.strategies.shares import share_logits
from bss.training.strategy.head_facts import drawn_share

THREE = ("audio", "video", "text")


def network_with_statistics(names, fusion):
    """Return a network with batch normalisation and dropout in its encoders."""
    encoders = {name: MlpConfig("mlp", hidden=(6,), features=4, dropout=0.3) for name in names}
    modalities = {name: Modality("features", (WIDTH,), "float32") for name in names}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return MultiModalNetwork(NetworkConfig(encoders, fusion), modalities, CLASSES)


def shares_by_passes(network, inputs):
    """Return the Shapley shares of two or three modalities as public code has them: whole passes, in eval mode."""
    names = list(inputs)
    whole = network.train()(inputs).fused
    network.eval()

    def of(*present):
        return network({n: x if n in present else torch.zeros_like(x) for n, x in inputs.items()}).fused

    if len(names) == 2:
        a, v = names
        return [0.5 * (whole - of(v) + of(a)), 0.5 * (whole - of(a) + of(v))]
    shares = []
    for name in names:
        one, other = (n for n in names if n != name)
        rest = of(name, one) - of(one) + of(name, other) - of(other)
        shares.append((whole - of(one, other)) / 3 + rest / 6 + of(name) / 3)
    return shares


def test_agm_with_zeroed_inputs_is_refused_for_more_coalitions_than_it_tries():
    setting = replace(setting_for(make_network(TWO)), modalities=tuple("abcdef"))
    Agm().check(setting)
    with pytest.raises(ValueError, match="`zero` must be features for more than 5 modalities"):
        Agm(zero="inputs").check(setting)


@pytest.mark.parametrize("names", [TWO, THREE], ids=["two", "three"])
@pytest.mark.parametrize("fusion", [Concatenation(), Gated()], ids=["concatenation", "gated"])
def test_agm_with_zeroed_inputs_has_the_gradients_of_public_code(names, fusion):
    """They are those of the shares' sum, with hooks that scale what reaches each share."""
    (inputs, labels), means = next(Toy(names).batches([range(9)])), torch.tensor([0.2, 0.9, 0.1][: len(names)])
    network, other = (network_with_statistics(names, fusion) for _ in range(2))
    run = start(Agm(zero="inputs", alpha=2.0, window=(0.0, 1.0), loss="published"), network)
    run.context.state |= {"means": means, "steps": torch.tensor(3.0)}
    run.positions = np.arange(9)
    torch.manual_seed(0)
    run.backward(inputs, network.train()(inputs), labels, 1, 9, 9, None)
    run.finish_step()

    torch.manual_seed(0)
    shares = shares_by_passes(other, inputs)
    entropies = torch.stack([F.cross_entropy(z, labels) for z in shares]).detach()
    new = means + (entropies - means) / 4
    for number, share in enumerate(shares):
        rest = [i for i in range(len(names)) if i != number]
        usual, now = (torch.exp(x[rest].mean() - x[number]) for x in (new, entropies))
        factor = torch.exp(2.0 * (usual - now).clamp(max=10))
        assert abs(factor - 1) > 0.1
        share.register_hook(lambda gradient, factor=factor: factor * gradient)
    F.cross_entropy(torch.stack(shares).sum(dim=0), labels).backward()

    for (name, mine), right in zip(network.named_parameters(), other.parameters(), strict=True):
        if name.startswith("heads."):
            assert mine.grad is None
        else:
            torch.testing.assert_close(mine.grad, right.grad, atol=1e-6, rtol=1e-4)
    for (name, mine), right in zip(network.named_buffers(), other.buffers(), strict=True):
        torch.testing.assert_close(mine, right, msg=name)
    torch.testing.assert_close(run.context.state["means"], new)
    assert not run.context.state["sums"].any()


def test_pmr_of_public_code_draws_a_modality_behind_by_all_of_alpha():
    # Distances of video are 1 and 4.472136: p 0.969874 of the class, audio has 0.993307: behind by 0.024161.
    network, zeros = make_network(TWO), torch.zeros(1, 2)
    prototypes = dict.fromkeys(TWO, torch.tensor([[0.0, 0.0], [3.0, 4.0]]))
    state = {"prototypes": prototypes, "known": torch.tensor([True, True])}
    features = {"audio": zeros, "video": torch.tensor([[1.0, 0.0]])}
    seen = Seen(features, dict.fromkeys(TWO, zeros), zeros, torch.tensor([0]), torch.clone)
    right = 1 / (1 + math.exp(1 - math.hypot(2, 4)))
    gap = 0.993307149 / right - 1
    for factor, weight in (("gap", gap), ("full", 1.0)):
        strategy = Pmr(alpha=2.0, factor=factor, loss="published", window=(0.0, 1.0))
        (objective,) = strategy.objectives(context_of(strategy, network, state, 1), seen)
        assert float(objective.loss) == pytest.approx(math.log(2) - 2 * weight * math.log(right), abs=1e-5)
    assert 0.02 < gap < 0.03


def test_pmr_takes_prototypes_from_a_drawn_tenth_of_train_and_keeps_those_of_classes_that_are_not_in_it():
    network, data = make_network(TWO), Toy(TWO, samples=30)
    run = start(Pmr(prototypes="pass", share=0.1, window=(0.0, 1.0)), network, data=data)
    features = network.eval().activate(network(data.inputs).features)
    known = torch.zeros(CLASSES, dtype=torch.bool)
    right = {name: torch.zeros(CLASSES, 4) for name in TWO}
    for epoch in range(4):
        run.begin_epoch(epoch, facts_of(run, {"train": data}))
        rows = drawn_share(30, 0.1, 0, epoch)
        assert len(rows) == 3
        for label in set(data.labels[rows].tolist()):
            for name, x in features.items():
                new = x[rows][data.labels[rows] == label].mean(dim=0)
                right[name][label] = 0.2 * right[name][label] + 0.8 * new if known[label] else new
            known[label] = True
        assert torch.equal(run.context.state["known"], known)
        for name in TWO:
            torch.testing.assert_close(run.context.state["prototypes"][name], right[name], atol=1e-6, rtol=1e-5)
    assert sorted(drawn_share(30, 0.1, 0, 0)) == list(drawn_share(30, 0.1, 0, 0))
    assert list(drawn_share(3, 1.0, 0, 0)) == [0, 1, 2]
    assert len(drawn_share(3, 0.1, 0, 0)) == 1


def test_the_published_loss_of_inforeg_goes_through_the_halves_of_the_fusion_head():
    network = make_network(TWO)
    strategy, seen = InfoReg(loss="published"), seen_of(network, Toy(TWO))
    (objective,) = strategy.objectives(context_of(strategy, network), seen)
    weight, bias = network.fusion.head.weight, network.fusion.head.bias
    halves = dict(zip(TWO, weight.split(4, dim=1), strict=True))
    logits = [seen.fused, *(seen.features[name] @ halves[name].T + bias / 2 for name in TWO)]
    expected = sum(F.cross_entropy(z, seen.labels, reduction="none") for z in logits)
    torch.testing.assert_close(objective.loss, expected)
    setting = setting_for(network)
    assert not strategy.trains_heads(setting)
    assert strategy.prediction(setting) == "fused"


def test_the_share_of_an_ignored_modality_does_not_train_the_bias():
    network, strategy = make_network(TWO), InfoReg(loss="published")
    seen = seen_of(network, Toy(TWO))
    ignored = torch.zeros(len(seen.labels), 2, dtype=torch.bool)
    ignored[:, 1] = True
    (plain,) = strategy.objectives(context_of(strategy, network), seen)
    (objective,) = strategy.objectives(context_of(strategy, network), replace(seen, ignored=ignored))
    bias = network.fusion.head.bias
    share = seen.features["video"] @ network.fusion.head.weight[:, 4:].T + bias / 2
    of_video = F.cross_entropy(share, seen.labels, reduction="none")
    torch.testing.assert_close(objective.loss, plain.loss - of_video + math.log(CLASSES))
    losses = (objective.loss, plain.loss, of_video)
    mine, whole, video = (torch.autograd.grad(loss.sum(), bias, retain_graph=True)[0] for loss in losses)
    torch.testing.assert_close(mine, whole - video)


def test_inforeg_holds_by_the_strength_of_the_modality_and_the_gap_that_it_is_told():
    sums, count = torch.tensor([4.5, 2.0]), 5  # means .9 and .4
    slips = InfoReg(strengths={"video": 0.1})
    assert slips.pulls(sums / count, TWO).tolist() == pytest.approx([1.508060, 0.0], abs=1e-6)
    surer = slips.pulls(sums.flip(0) / count, TWO)
    assert surer.tolist() == pytest.approx([0.0, 1.508060 * 0.1 / 0.95], abs=1e-6)
    network = make_network(TWO)
    for gap, pull in (("mean", 1.508060), ("sum", 0.95 * math.exp(math.tanh(2.5)))):
        strategy = InfoReg(gap=gap, first_epoch=True)
        modules = start(strategy, network).modules
        state = strategy.start(setting_for(network), modules, CLASSES)
        strategy.plan(context_of(strategy, network, state, 0), {}, modules)
        with torch.no_grad():
            for p in network.parameters():
                p.add_(0.5)
                p.grad = torch.zeros_like(p)
        strategy.after(context_of(strategy, network, state), torch.tensor([4.5, 2.0, 5.0]), Gradients(modules), None)
        for name, p in network.named_parameters():
            wanted = 0.5 * pull if name.startswith("encoders.audio.") else 0.0
            torch.testing.assert_close(p.grad, torch.full_like(p, wanted), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("gate", "held"), [(None, [True, False]), ("audio", [True, True]), ("video", [False, False])])
def test_the_trace_of_one_modality_decides_for_all_if_inforeg_is_told_so(gate, held):
    network = make_network(TWO)
    strategy = InfoReg(gate=gate)
    modules = start(strategy, network).modules
    state = strategy.start(setting_for(network), modules, CLASSES)
    strategy.plan(context_of(strategy, network, state, 0), {}, modules)
    assert state["held"] == [False, False]
    state["trace"] = torch.tensor([1.0, 0.0])
    strategy.plan(context_of(strategy, network, state, 1), {}, modules)
    assert state["held"] == held
    assert [bool(state["start"][name]) for name in TWO] == held


class Convolutions(torch.nn.Module):
    """Layers in the order of a residual block, with a norm that belongs to no layer at either end."""

    def __init__(self):
        super().__init__()
        self.first = torch.nn.BatchNorm2d(3)
        self.one, self.norm = torch.nn.Conv2d(3, 8, 1, bias=False), torch.nn.BatchNorm2d(8)
        self.relu = torch.nn.ReLU()
        self.two, self.other = torch.nn.Conv2d(8, 8, 1), torch.nn.GroupNorm(2, 8)
        self.last = torch.nn.Linear(8, 4)


def test_amss_finds_the_batch_normalisation_behind_a_layer():
    part = Convolutions()
    assert list(masked_layers(part)) == [(part.one, part.norm), (part.two, None), (part.last, None)]


@pytest.mark.parametrize("batch_norm", [False, True])
def test_amss_masks_the_batch_normalisation_of_a_masked_unit(batch_norm):
    part = Convolutions()
    for p in part.parameters():
        p.grad = torch.ones_like(p)
    # Channels of squares 48 and 0: the four of them whose gradient is not zero are drawn.
    part.one.weight.grad[::2] = 4.0
    part.one.weight.grad[1::2] = 0.0
    random = torch.Generator().manual_seed(0)
    Amss(batch_norm=batch_norm, weighing="code")._mask_encoder(part, torch.tensor(0.5), random)
    weight = 1 / (1 / 4 + 1 / 8)
    expected = torch.tensor([weight, 0.0] * 4) if batch_norm else torch.ones(8)
    torch.testing.assert_close(part.norm.weight.grad, expected)
    torch.testing.assert_close(part.norm.bias.grad, expected)
    torch.testing.assert_close(part.one.weight.grad[:, 0, 0, 0], torch.tensor([4 * weight, 0.0] * 4))
    assert part.other.weight.grad.tolist() == part.first.weight.grad.tolist()[:1] * 8


def test_amss_masks_some_weights_of_each_class_and_modality_in_the_classifier():
    gradients = []
    for classifier in (False, True):
        network = make_network(TWO)
        train(Amss(classifier=classifier, bounds=(0.5, 0.5)), network, Toy(TWO), batch_size=22, epochs=1)
        gradients.append(network.fusion.head.weight.grad)
    plain, masked = gradients
    kept = masked != 0
    torch.testing.assert_close(masked[kept], plain[kept])
    # Half of the four weights of a class and a modality; some have no gradient anyway.
    assert (kept.view(CLASSES, 2, 4).sum(dim=2) == (plain != 0).view(CLASSES, 2, 4).sum(dim=2).clamp_max(2)).all()
    assert (kept.sum(dim=1) < (plain != 0).sum(dim=1)).all()
    with pytest.raises(ValueError, match=r"`network\.fusion\.kind` must be concatenation for amss with classifier"):
        Amss(classifier=True).check(setting_for(make_network(TWO, Gated())))


def test_amss_adds_its_offset_to_how_far_a_modality_has_learned(monkeypatch):
    # Classes of 1, 1 and 2 of 4 samples: an entropy of 1.039721. Losses of 1.75 and 1.5, entropies of 2 and 1.
    gathered, found = torch.tensor([7.0, 6.0, 8.0, 4.0, 1.0, 1.0, 2.0]), []
    network = make_network(TWO)
    modules = start(Amss(), network).modules
    shares = Amss.shares
    monkeypatch.setattr(Amss, "shares", lambda *given: found.append((given[1:], shares(*given))) or found[-1][1])
    for strategy in (Amss(), Amss(offset=3.0, temperature=2.0), Amss(offset=3.0, relative=False)):
        strategy.after(context_of(strategy, network), gathered, Gradients(modules), Draw(0, 0, 0, CPU))
    ((least, _), halves), ((above, significance), learned), ((same, alone), _) = found
    assert torch.equal(same, above)
    assert torch.equal(alone, above)
    assert least.tolist() == pytest.approx([-0.210279, 0.039721], abs=1e-5)
    assert halves.tolist() == [0.5, 0.5]
    assert above.tolist() == pytest.approx([2.289721, 2.539721], abs=1e-5)
    assert significance.tolist() == pytest.approx([1.144860, 2.539721], abs=1e-5)
    assert float(learned[1]) == pytest.approx(1 / (1 + math.exp((2.539721 - 1.144860) / 2)), abs=1e-5)


def test_amss_with_equal_chances_draws_without_regard_to_gradients():
    squares, random = torch.tensor([9.0, 1.0, 0.0, 0.0]), torch.Generator().manual_seed(0)
    strategy = Amss(chances="equal", bounds=(0.0, 1.0))
    drawn = torch.stack([strategy.factors(squares, torch.tensor(0.5), random) for _ in range(4000)])
    assert (drawn.sum(dim=1) == 2).all()
    torch.testing.assert_close(drawn.mean(dim=0), torch.full((4,), 0.5), atol=0.03, rtol=0)
    rows = Amss(bounds=(0.0, 1.0)).factors(squares.repeat(5, 1), torch.tensor(0.5), random)
    assert rows.tolist() == [[1.0, 1.0, 0.0, 0.0]] * 5, "a draw for each row"


@pytest.mark.parametrize("step", range(4))
def test_cml_of_a_drawn_order_compares_the_subsets_of_that_order(step):
    network = make_network(THREE)
    strategy, seen = Cml(loss="published", pairs="drawn"), seen_of(network, Toy(THREE))
    draw = Draw(0, 0, step, CPU)
    context = context_of(strategy, network)
    context.draw = draw
    (objective,) = strategy.objectives(context, seen)
    first, second, _ = (THREE[i] for i in draw.host("order").permutation(3))
    shares = share_logits(seen)
    chain = [seen.fused, shares[first] + shares[second], shares[first]]
    sure = [z.softmax(dim=1).amax(dim=1) for z in chain]
    rises = ((sure[1] - sure[0]).clamp_min(0) + (sure[2] - sure[1]).clamp_min(0)) / 2
    fused, *entropies = (F.cross_entropy(z, seen.labels, reduction="none") for z in chain)
    torch.testing.assert_close(objective.loss, fused + 0.1 * rises + sum(entropies) / 2)


@pytest.mark.parametrize(("confidence", "learns"), [([0.4, 0.3, 0.6], "video"), ([0.4, 0.9, 0.6], "audio")])
def test_g2d_by_batch_zeroes_the_gradients_of_all_but_the_weakest_teacher_of_the_batch(confidence, learns):
    strategy, network = G2d(decide="batch", until=(0.25, 0.5)), make_network(THREE)
    modules = start(strategy, network).modules
    seen = replace(seen_of(network, Toy(THREE)), taught=Taught({}, seen_of(network, Toy(THREE)).logits))
    summed = torch.tensor([*confidence, 1.0])
    state = strategy.start(setting_for(network), modules, CLASSES)
    for epoch, count in ((0, 1), (1, 2), (2, 3)):
        for p in network.parameters():
            p.grad = torch.ones_like(p)
        context = context_of(strategy, network, state, epoch)
        assert strategy.plan(context, {}, modules).frozen == ()
        gathered = strategy.gather(context, seen)
        assert (gathered is None) == (count == 3)
        strategy.after(context, None if gathered is None else summed, Gradients(modules), None)
        moved = {name for name in THREE if any(p.grad.any() for p in network.encoders[name].parameters())}
        assert moved == set(sorted(THREE, key=lambda n: confidence[THREE.index(n)])[:count])
        assert learns in moved
        assert all(p.grad.all() for p in network.heads.parameters())
    assert not strategy.reads(context_of(strategy, network, state, 0))
    right = sum(seen.taught.logits["audio"].softmax(dim=1)[range(9), seen.labels])
    torch.testing.assert_close(strategy.gather(context_of(strategy, network, state, 0), seen)[0], right)
