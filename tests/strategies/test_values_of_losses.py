"""Strategies that change the loss or hide inputs: values computed by hand or by another way."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from toy import CLASSES, CPU, SGD, TWO, Toy, context_of, facts_of, log, make_network, seen_of, setting_for, start, train

from bss.strategies import Seen
from bss.strategies.absent import running_means, start_means
from bss.strategies.draw import Draw
from bss.strategies.lfm import Lfm, divergence
from bss.strategies.mbsd import difference_of_sureness, distillation
from bss.strategies.modality_dropout import ModalityDropout
from bss.strategies.mslr import Mslr
from bss.strategies.pmr import closeness
from bss.strategies.weights import Weighted


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


def test_mslr_as_published_trains_on_the_summed_logits_alone():
    network, data = make_network(TWO), Toy(TWO)
    seen, strategy = seen_of(network, data), Mslr(loss="published")
    context = context_of(strategy, network)
    (objective,) = strategy.objectives(context, seen)
    summed = seen.logits["audio"] + seen.logits["video"]
    assert torch.equal(objective.loss, F.cross_entropy(summed, seen.labels, reduction="none"))
    smoothed = strategy.objectives(context, replace(seen, label_smoothing=0.1))[0].loss
    assert torch.equal(smoothed, F.cross_entropy(summed, seen.labels, reduction="none", label_smoothing=0.1))
    assert strategy.prediction(context.setting) == "unimodal-heads"
    before = {name: value.clone() for name, value in network.fusion.state_dict().items()}
    train(strategy, network, data, epochs=1)
    assert all(torch.equal(value, before[name]) for name, value in network.fusion.state_dict().items())


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
