"""Strategies that take several updates per batch or phase: their values, and what a turn leaves alone."""

import io
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from toy import CLASSES, SGD, Toy, context_of, facts, make_network, network_for, setting_for, start, train

from bss.config.heads import HeadsConfig
from bss.models.heads import build_heads
from bss.models.predicted_logits import entropy_weights, predicted_logits
from bss.strategies import EpochPlan, Objective, Strategy, Turn
from bss.strategies.aug import Aug
from bss.strategies.mla import Mla, without
from bss.strategies.reconboost import ReconBoost, boosted
from bss.strategies.umt import Umt
from bss.strategies.weights import Weighted
from bss.training.network_parts import parameter_groups
from bss.training.steps import make_optimiser, train_epoch

TWO = ("audio", "video")
THREE = ("audio", "video", "text")
ONE = SGD.__class__("sgd", learning_rate=0.1, momentum=0.0)


def log(*values):
    return torch.tensor([values]).log()


def test_heads_weigh_more_where_they_are_surer():
    stacked = torch.stack([log(0.9, 0.1), log(0.5, 0.5)])
    weights = entropy_weights(stacked)
    torch.testing.assert_close(weights[:, 0], torch.tensor([0.590991, 0.409009]), atol=1e-6, rtol=0)
    logits = dict(zip(TWO, stacked, strict=True))
    found = predicted_logits("by-entropy", logits, torch.full((1, 2), torch.nan))
    torch.testing.assert_close(found, 0.590991 * stacked[0] + 0.409009 * stacked[1], atol=1e-6, rtol=0)


def test_mla_projects_away_from_what_came_before():
    found = without(torch.eye(2), torch.ones(2), 0.1)
    expected = torch.tensor([[0.523810, -0.476190], [-0.476190, 0.523810]])
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


def test_mla_predicts_from_the_heads_alone_and_follows_its_order():
    network = network_for(Mla(), THREE)
    assert Mla().prediction(setting_for(network)) == "by-entropy"
    assert Mla(fusion="sum").prediction(setting_for(network)) == "unimodal-heads"
    order = ("text", "audio", "video")
    turns = Mla(order=order).turns(context_of(Mla(), network))
    assert tuple(turn.encoders for turn in turns) == tuple((name,) for name in order)
    with pytest.raises(ValueError, match="`order` must be null or all of"):
        Mla(order=("audio", "video")).check(setting_for(network))


def test_heads_share_one_layer_and_narrower_features_are_projected():
    network = network_for(Mla(), TWO)
    heads = network.heads
    assert heads["audio"].last is heads["video"].last
    heads = build_heads(HeadsConfig(shared=True), {"audio": 3, "video": 5}, CLASSES)
    assert isinstance(heads["video"].branches[0], torch.nn.Identity)
    assert heads["audio"](torch.zeros(2, 3)).shape == (2, CLASSES)
    with pytest.raises(ValueError, match=r"`heads\.branches` must be 1 without hidden"):
        HeadsConfig(branches=2)


def test_every_parameter_has_one_group_whatever_heads_share():
    network = network_for(Aug(width=4, every=1), TWO)
    groups = parameter_groups(network)
    found = [id(p) for group in groups for p in group["params"]]
    assert sorted(found) == sorted(id(p) for p in network.parameters())
    shared = next(group for group in groups if any(p is network.heads["audio"].last.weight for p in group["params"]))
    assert shared["modality"] == ""


class Some(Strategy):
    """One turn, in which audio learns and video runs."""

    kind = "some"

    def turns(self, context):
        return (Turn(TWO, (("encoder", "audio"), ("head", "audio"))),)

    def objectives(self, context, seen):
        assert not seen.features["video"].requires_grad
        return super().objectives(context, seen)


def test_what_a_turn_does_not_update_stays_and_is_in_eval():
    network, before = make_network(TWO), make_network(TWO)
    for net in (network, before):
        for name in TWO:
            net.encoders[name].layers[1] = torch.nn.BatchNorm1d(5)
    train(Some(), network, Toy(TWO))
    for name, value in before.state_dict().items():
        of_audio = name.startswith(("encoders.audio", "heads.audio"))
        assert torch.equal(value, network.state_dict()[name]) != of_audio, name
    assert network.training
    assert all(module.training for module in network.modules())
    assert all(p.requires_grad for p in network.parameters())


class OneByOne(Some):
    """Each modality has a turn of its own."""

    def turns(self, context):
        return tuple(Turn((name,), (("encoder", name), ("head", name))) for name in TWO)

    def objectives(self, context, seen):
        assert list(seen.features) == list(seen.logits) == list(context.turn.encoders)
        assert seen.fused.isnan().all()
        assert seen.fused.shape == (len(seen.labels), CLASSES)
        return [Objective(F.cross_entropy(*seen.logits.values(), seen.labels, reduction="none"))]


def test_turns_over_disjoint_parts_are_independent_networks_and_all_outputs_are_observed():
    one, other, data = make_network(TWO), make_network(TWO), Toy(TWO)
    observed = []
    train(OneByOne(), one, data, accumulate=2, observe=lambda i, outputs, loss: observed.append((outputs, loss)))
    train(Weighted(fused=0.0), other, data)
    for mine, right in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(mine, right, atol=1e-6, rtol=1e-5)
    for outputs, loss in observed:
        assert list(outputs.logits) == list(outputs.features) == list(TWO)
        assert not outputs.fused.requires_grad
        assert torch.isfinite(loss).all()


def test_restarted_parts_lose_their_momentum_once_before_the_epoch():
    class Restarting(Strategy):
        kind = "restarting"

        def plan(self, context, facts, modules):
            return EpochPlan(restarted=(("encoder", "audio"),) if context.epoch == 1 else ())

    network = make_network(TWO)
    run = start(Restarting(), network)
    optimiser = make_optimiser(network, SGD, parameter_groups(network))
    for p in network.parameters():
        p.grad = torch.ones_like(p)
    for epoch in (0, 1):
        optimiser.step()
        run.begin_epoch(epoch, lambda split: None)
        run.forget(optimiser)
    for name, p in network.named_parameters():
        assert (p in optimiser.state) != name.startswith("encoders.audio."), name


def test_reconboost():
    own = torch.tensor([[0.25, 0.15, 0.15, 0.15, 0.15, 0.15]]).log()
    rest = torch.tensor([[0.5, 0.1, 0.1, 0.1, 0.1, 0.1]]).log()
    assert float(boosted(own, rest, torch.tensor([0]), 5.0, 1.0)) == pytest.approx(1.039721, abs=1e-6)


def test_reconboost_goes_round_the_modalities_with_a_joint_phase_after_each():
    strategy, network = ReconBoost(alone=2, joint=1), make_network(THREE)
    setting = setting_for(network, 9)
    modules = start(strategy, network).modules
    learning, restarts = [], []
    for epoch in range(9):
        context = context_of(strategy, network, epoch=epoch, epochs=9)
        (turn,) = strategy.turns(context)
        assert turn.encoders == THREE
        learning.append("+".join(dict.fromkeys(name for _, name in turn.updates)))
        restarts.append(bool(strategy.plan(context, {}, modules).restarted))
    joint = "audio+video+text"
    assert learning == ["audio", "audio", joint, "video", "video", joint, "text", "text", joint]
    assert restarts == [True, False, False] * 3
    assert strategy.prediction(setting) == "unimodal-heads"


def test_reconboost_alone_weighs_by_the_others_in_eval_and_jointly_learns_the_sum():
    data = Toy(TWO)
    for epoch, agreement in ((0, 0.0), (0, 0.5), (1, 0.0)):
        strategy = ReconBoost(alone=1, joint=1, agreement=agreement)
        network = make_network(TWO)
        outputs = network(data.inputs)
        audio, video = outputs.logits["audio"], outputs.logits["video"].detach()
        if epoch == 0:
            q = video.softmax(dim=1)[torch.arange(len(data)), data.labels]
            loss = ((5 - q) * F.cross_entropy(audio, data.labels, reduction="none") / CLASSES).mean()
            loss = loss + agreement * (audio - video).square().mean()
        else:
            loss = F.cross_entropy(audio + outputs.logits["video"], data.labels)
        parts = [*network.encoders.parameters(), *network.heads.parameters()]
        expected = torch.autograd.grad(loss, parts, allow_unused=True)
        run = start(strategy, network)
        run.begin_epoch(epoch, lambda split: None)
        made = make_optimiser(network, ONE, parameter_groups(network))
        train_epoch(network, made, data, [np.arange(len(data))], seed=0, epoch=epoch, strategy=run)
        for p, right in zip(parts, expected, strict=True):
            assert (p.grad is None) == (right is None)
            if right is not None:
                torch.testing.assert_close(p.grad, right, atol=1e-6, rtol=1e-4)


def test_aug():
    older, newest, label = log(0.6, 0.4), log(0.5, 0.5), torch.tensor([0])
    one = -math.log(0.6)
    together = -math.log(0.3 / 0.5)  # 0.3 and 0.2, normalised
    for form in ("sum", "softmax"):
        found = float(Aug(older=form).loss([older, newest], label))
        assert found - one - together == pytest.approx(0.485203, abs=1e-6)
    assert float(Aug().loss([older], label)) == pytest.approx(one)
    # Two older branches: their probabilities sum to 1.3, by their summed logits it is 0.6 * 0.7 / (0.42 + 0.12).
    both = [older, log(0.7, 0.3), newest]
    difference = float(Aug().loss(both, label) - Aug(older="softmax").loss(both, label))
    assert difference == pytest.approx(0.5 * math.log(2) * (0.42 / 0.54 - 1.3), abs=1e-6)
    # Never negative, so that the loss has a least value.
    assert float(Aug(residual=1.0).loss(both, label)) == pytest.approx(
        float(Aug(residual=5.0).loss(both, label)), abs=1e-6
    )


def test_aug_lets_the_least_sure_head_grow():
    strategy = Aug(width=4, every=2)
    network = network_for(strategy, TWO)
    modules = start(strategy, network).modules
    heads = network.heads
    assert len(heads["audio"].branches) == 2  # four epochs: it may grow before the third
    assert [strategy.reads(context_of(strategy, network, epoch=epoch)) for epoch in range(4)] == [
        False,
        False,
        True,
        False,
    ]
    context = context_of(strategy, network, epoch=2)
    for audio, video, used in ((0.5, 0.495, (1, 1)), (0.5, 0.48, (1, 2)), (0.5, 0.48, (1, 2)), (0.4, 0.48, (2, 2))):
        strategy.plan(context, {"train": facts(confidence={"audio": audio, "video": video})}, modules)
        assert (heads["audio"].used, heads["video"].used) == used
    # By ratio 0.5 / 0.495 is above 1.01 too.
    network = network_for(strategy, TWO)
    close = {"train": facts(confidence={"audio": 0.5, "video": 0.495})}
    Aug(width=4, every=2, compare="ratio").plan(context, close, start(strategy, network).modules)
    assert network.heads["video"].used == 2


def test_a_grown_head_is_the_sum_of_its_branches_and_comes_back_from_a_file():
    network = network_for(Aug(width=4, every=1), TWO)
    head = network.heads["audio"]
    features = torch.rand(3, 4)
    first = head(features)
    head.grow()
    pieces = head.each(features)
    torch.testing.assert_close(pieces[0], first)
    torch.testing.assert_close(head(features), pieces[0] + pieces[1])
    buffer = io.BytesIO()
    torch.save(network.state_dict(), buffer)
    buffer.seek(0)
    other = network_for(Aug(width=4, every=1), TWO)
    other.load_state_dict(torch.load(buffer, weights_only=True))
    assert (other.heads["audio"].used, other.heads["video"].used) == (2, 1)
    torch.testing.assert_close(other.heads["audio"](features), head(features))
    for _ in range(9):
        head.grow()
    assert head.used == len(head.branches) == 4


@pytest.mark.parametrize("learns", [True, False])
def test_new_branches_learn_unless_the_mistake_of_the_public_code_is_wanted(learns):
    strategy = Aug(width=4, every=1, threshold=0.0, train_new=learns)
    network, before = network_for(strategy, TWO), network_for(strategy, TWO)
    train(strategy, network, Toy(TWO))
    grown = [name for name in TWO if network.heads[name].used > 1]
    assert grown
    for name in grown:
        head = network.heads[name]
        for number, branch in enumerate(head.branches):
            moved = not torch.equal(branch[0].weight, before.heads[name].branches[number][0].weight)
            assert moved == (number == 0 or (learns and number < head.used)), (name, number)


@pytest.mark.parametrize(
    "strategy", [Mla(), Mla(projection="paper"), ReconBoost(alone=1, joint=1), Aug(width=4), Umt()]
)
def test_each_encoder_runs_once_per_part_of_a_batch_and_so_does_a_teacher(strategy):
    network = network_for(strategy, THREE)
    run = start(strategy, network)
    calls = []
    encoders = {("own", name): encoder for name, encoder in network.encoders.items()}
    if run.teachers is not None:
        encoders |= {("teacher", name): encoder for name, encoder in run.teachers.encoders.items()}
    for key, encoder in encoders.items():
        encoder.register_forward_hook(lambda *_, key=key: calls.append(key))
    made = make_optimiser(network, SGD, parameter_groups(network))
    batches = [np.arange(8), np.arange(8, 16), np.arange(16, 22)]
    for epoch in (0, 1):
        calls.clear()
        train_epoch(network, made, Toy(THREE), batches, seed=0, epoch=epoch, accumulate=2, strategy=run)
        assert sorted(calls) == sorted(key for key in encoders for _ in range(2 * len(batches)))
