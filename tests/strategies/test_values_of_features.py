"""Methods that hide, copy, permute or mix features: one value for each, computed by hand or by another way."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from toy import CLASSES, CPU, SGD, TWO, Toy, context_of, log, make_network, seen_of, setting_for, train

from bss.config.encoders import MlpConfig
from bss.config.fusion import Concatenation
from bss.config.schema import NetworkConfig
from bss.data.store import Modality
from bss.models.network import MultiModalNetwork
from bss.strategies import ALL, Arranged, Seen
from bss.strategies.base import weighted_loss
from bss.strategies.draw import Draw
from bss.strategies.keeping import kept_loss, with_copies
from bss.strategies.lfm import divergence
from bss.strategies.mcr import Mcr, contrastive, dependence
from bss.strategies.midas import Midas, draw_sources
from bss.strategies.opm import Opm, survivors_factor
from bss.strategies.remix import Remix, filled, sureness
from bss.strategies.smv import Smv, copies
from bss.training.distributed.ranks import Ranks
from bss.training.strategy.kept_modalities import part_of, rows_to_encode

THREE = (*TWO, "text")


def draw(length, step=0):
    return Draw(0, 0, step, CPU, 1, length)


def sum_seen(labels, **logits):
    """Return samples whose features are logits, which the fusion head adds and the heads pass on."""
    fuse = lambda features: torch.stack(list(features.values())).sum(dim=0)  # noqa: E731
    return Seen(logits, logits, fuse(logits), torch.tensor(labels), fuse)


def test_opm():
    rates = Opm().rates(torch.tensor([1.5, 1.0]))
    torch.testing.assert_close(rates, torch.tensor([0.615529, 0.0]), atol=1e-6, rtol=0)
    assert float(survivors_factor(rates, [512, 512])) == pytest.approx(1.444595, abs=1e-6)
    # Against the mean of the others: 2 / 1.25 - 1 = .6, and 1.5 is not above 1.5.
    three = Opm().rates(torch.tensor([2.0, 1.0, 1.5]))
    torch.testing.assert_close(three, torch.tensor([0.5 * (1 + 0.5 * math.tanh(0.6)), 0.0, 0.0]))


def test_opm_drops_the_surer_modality_of_drawn_samples_and_scales_what_is_left():
    seen = sum_seen([0] * 2000, audio=3 * torch.eye(3)[[0] * 2000], video=torch.ones(2000, 3))
    strategy, context = Opm(source="heads", execute=1.0, window=(0.0, 1.0)), context_of(Opm(), make_network(TWO))
    mixed = strategy.mix(context, seen, draw(2000))
    sure = [float(z.softmax(dim=1)[0, 0]) for z in seen.logits.values()]
    rate = 0.5 * (1 + 0.5 * math.tanh(sure[0] / sure[1] - 1))
    lost = (mixed.features["audio"] == 0).all(dim=1)
    assert float(lost.float().mean()) == pytest.approx(rate, abs=0.03)
    factor = 1 / (1 - rate / 2)
    torch.testing.assert_close(mixed.features["audio"][~lost], factor * seen.features["audio"][~lost])
    torch.testing.assert_close(mixed.features["video"], factor * seen.features["video"])
    assert not mixed.heads


def test_opm_can_put_the_mean_in_the_place_of_features():
    # Audio (3, 0) and (1, 4) has the mean (2, 2), which is not scaled.
    seen = sum_seen([0, 0] * 50, audio=torch.tensor([[3.0, 0.0], [1.0, 4.0]] * 50), video=torch.full((100, 2), -1.0))
    seen = replace(seen, logits={"audio": torch.tensor([[2.0, 0.0]] * 100), "video": torch.zeros(100, 2)})
    strategy = Opm(source="heads", execute=1.0, window=(0.0, 1.0), absent="mean")
    means = {"absent": dict.fromkeys(TWO, torch.zeros(2)), "known": torch.zeros(2)}
    context = context_of(strategy, make_network(TWO), means)
    mixed = strategy.mix(context, seen, draw(100))
    zeros = replace(strategy, absent="zero").mix(context, seen, draw(100))
    lost = (zeros.features["audio"] == 0).all(dim=1)
    assert 0 < lost.sum() < 100
    torch.testing.assert_close(mixed.features["audio"][lost], torch.full((int(lost.sum()), 2), 2.0))
    torch.testing.assert_close(mixed.features["audio"][~lost], zeros.features["audio"][~lost])
    # Means are left of a sample even if they are zero: its fused loss stays.
    hidden = replace(seen, features={name: torch.zeros(100, 2) for name in TWO})
    (objective,) = strategy.objectives(context, hidden)
    fused = F.cross_entropy(hidden.fused, seen.labels, reduction="none")
    assert torch.equal(objective.loss, weighted_loss(seen, context.weights))
    assert (objective.loss > fused).all()


def test_opm_leaves_out_the_fused_loss_of_a_sample_of_which_nothing_is_left():
    features = {"audio": torch.tensor([[0.0, 0.0], [1.0, 2.0]]), "video": torch.tensor([[0.0, 0.0], [0.0, 1.0]])}
    seen = sum_seen([0, 1], **features)
    (objective,) = Opm(window=(0.0, 1.0)).objectives(context_of(Opm(), make_network(TWO)), seen)
    unimodal = sum(F.cross_entropy(z, seen.labels, reduction="none") for z in features.values())
    fused = F.cross_entropy(seen.fused, seen.labels, reduction="none") * torch.tensor([0.0, 1.0])
    torch.testing.assert_close(objective.loss, unimodal + fused)


def test_smv():
    # The sum says 0 and is right, audio alone too, video alone not: 2, 1 and 0.
    seen = sum_seen([0], audio=torch.tensor([[3.0, 0.0]]), video=torch.tensor([[0.0, 1.0]]))
    found = Smv().measure(context_of(Smv(), make_network(TWO)), seen)
    assert found.tolist() == [[1.5, 0.5]]
    assert copies(np.array([[1.5, 0.5], [1.0, 0.0], [-0.5, 1 / 3]])).tolist() == [[0, 1], [0, 2], [3, 2]]


def test_smv_can_put_the_mean_in_the_place_of_features():
    # With zeros audio alone says 0 and is right; with video's mean of (0, 4) beside it, it says 1. Video alone is wrong
    # either way, and both are right: 2 is shared evenly.
    seen = sum_seen([0], audio=torch.tensor([[3.0, 0.0]]), video=torch.tensor([[0.0, 1.0]]))
    means = {"audio": torch.tensor([0.0, 0.05]), "video": torch.tensor([0.0, 0.4])}  # a tenth of the weight is known
    strategy = Smv(absent="mean")
    context = context_of(strategy, make_network(TWO), {"absent": means, "known": torch.tensor([0.1, 0.1])})
    assert strategy.measure(context, seen).tolist() == [[1.0, 1.0]]
    # A copy that shows audio alone gets video's mean, into which the sample that shows it goes: 0.9 x 0.1 of (0, 4) and
    # 0.1 of (2, 0), over 0.19.
    shown = sum_seen([0, 0], audio=torch.tensor([[3.0, 0.0], [5.0, 0.0]]), video=torch.tensor([[2.0, 0.0], [0.0, 0.0]]))
    mixed = strategy.mix(context, replace(shown, kept=torch.tensor([ALL, 0])), draw(2))
    torch.testing.assert_close(mixed.features["audio"], shown.features["audio"])
    right = torch.tensor([[2.0, 0.0], [0.1 * 2 / 0.19, 0.9 * 0.1 * 4 / 0.19]])
    torch.testing.assert_close(mixed.features["video"], right)
    assert not mixed.heads


def test_smv_of_three_modalities_by_all_their_orders():
    from itertools import permutations

    network, data = make_network(THREE), Toy(THREE)
    seen = seen_of(network, data)
    found = Smv().measure(context_of(Smv(), network), seen)

    def value(names):
        features = {n: x if n in names else 0 * x for n, x in seen.features.items()}
        return len(names) * (network.fuse(features).argmax(dim=1) == seen.labels).double() if names else 0.0

    for number, name in enumerate(THREE):
        gains = [value(o[: o.index(name) + 1]) - value(o[: o.index(name)]) for o in permutations(THREE)]
        torch.testing.assert_close(found[:, number], sum(gains) / 6)


def test_smv_copies_what_the_schedule_shows_and_keeps_its_order():
    contributions = np.tile([1.5, 0.5], (6, 1))
    contributions[4] = [-0.5, 0.0]
    sequence = np.array([5, 4, 0, 2])  # 1 and 3 are not shown, so they have no copies
    context = context_of(Smv(), make_network(TWO))
    made = Smv().arrange(context, sequence, contributions, np.random.default_rng(0))
    assert made.positions[made.kept == ALL].tolist() == sequence.tolist()
    assert sorted(made.positions[made.kept == 0]) == [4, 4, 4]
    assert sorted(made.positions[made.kept == 1]) == [0, 2, 4, 4, 5]
    short = Smv(keep_length=True).arrange(context, sequence, contributions, np.random.default_rng(0))
    assert (short.positions == made.positions[:4]).all()
    assert (short.kept == made.kept[:4]).all()


def test_smv_of_modalities_copies_by_the_gap_of_mean_contributions():
    contributions = np.tile([1.25, 0.5], (30, 1))
    made = Smv(level="modality", alpha=2.0).arrange(
        context_of(Smv(), make_network(TWO)), np.arange(30), contributions, np.random.default_rng(0)
    )
    assert (made.kept == 0).sum() == 0
    assert (made.kept == 1).sum() == 30


def test_copies_come_anywhere():
    places = [
        np.flatnonzero(with_copies(np.arange(50), np.arange(50), np.zeros(50, int), random).kept == 0).mean()
        for random in map(np.random.default_rng, range(200))
    ]
    assert np.mean(places) == pytest.approx(49.5, abs=1.5)


def test_remix():
    assert float(sureness(log(0.7, 0.3))) == pytest.approx(0.118709, abs=1e-6)
    assert float(sureness(torch.zeros(1, 6))) == pytest.approx(0, abs=1e-6)
    # Of two each: 1, 1 fill at place 2, 0, 0 at 3; 1 and 0 are left over.
    assert filled(np.array([0, 1, 1, 0, 1, 0]), 2).tolist() == [1, 2, 0, 3, 4, 5]


def test_remix_gives_each_sample_the_modality_that_is_less_sure():
    measured = np.array([[0.5, 0.1], [0.2, 0.9], [0.3, 0.8], [0.7, 0.6]])
    context = context_of(Remix(), make_network(TWO))
    context.setting = replace(context.setting, batch_size=2)
    made = Remix().arrange(context, np.array([3, 1, 0, 2]), measured, np.random.default_rng(0))
    assert (made.positions.tolist(), made.kept.tolist()) == ([3, 0, 1, 2], [1, 1, 0, 0])
    made = Remix(batches="blocks").arrange(context, np.array([3, 1, 0, 2]), measured, np.random.default_rng(0))
    assert (made.positions.tolist(), made.kept.tolist()) == ([1, 2, 3, 0], [0, 0, 1, 1])


def test_remix_weighs_heads_by_a_half_before_and_by_one_after_the_warm_up():
    strategy, network = Remix(loss="published", warm_up=2), make_network(TWO)
    assert strategy.weights(setting_for(network)).unimodal == {"audio": 0.5, "video": 0.5}
    assert strategy.plan(context_of(strategy, network, epoch=1), {}, {}).weights is None
    assert strategy.plan(context_of(strategy, network, epoch=2), {}, {}).weights.unimodal == {"audio": 1, "video": 1}


def test_a_hidden_modality_has_zero_features_and_no_loss_of_its_head():
    network, data = make_network(TWO), Toy(TWO)
    seen = seen_of(network, data, range(3))
    kept = torch.tensor([ALL, 0, 1])
    inputs, labels = next(data.batches([[0, 1, 2]]))
    rows = {name: torch.from_numpy(x) for name, x in rows_to_encode(network, kept.numpy(), Ranks()).items()}
    assert {name: x.tolist() for name, x in rows.items()} == {"audio": [0, 1], "video": [0, 2]}
    outputs = network.forward_rows(inputs, rows, kept)
    active = {name: x.clone() for name, x in seen.features.items()}
    active["video"][1], active["audio"][2] = 0, 0
    torch.testing.assert_close(network.activate(outputs.features), active)
    fused = network.fuse(active)
    torch.testing.assert_close(outputs.fused, fused)
    given = Seen(active, outputs.logits, outputs.fused, labels, network.fuse, kept=kept)
    entropy = {name: F.cross_entropy(z, labels, reduction="none") for name, z in outputs.logits.items()}
    own = torch.stack([entropy["audio"] + entropy["video"], entropy["audio"], entropy["video"]], dim=1)
    expected = F.cross_entropy(fused, labels, reduction="none") + torch.diag(own)
    torch.testing.assert_close(kept_loss(given, context_of(Remix(), network).weights), expected)


def test_an_encoder_is_not_run_on_samples_that_hide_its_modality():
    config = NetworkConfig({name: MlpConfig("mlp", hidden=(6,), features=4) for name in TWO}, Concatenation())
    network = MultiModalNetwork(config, {name: Modality("features", (5,), "float32") for name in TWO}, CLASSES)
    norm = {n: next(m for m in network.encoders[n].modules() if isinstance(m, torch.nn.BatchNorm1d)) for n in TWO}
    data = Toy(TWO, samples=8)
    train(Remix(warm_up=0), network, data, batch_size=8, epochs=1)
    shown = {name: int(layer.num_batches_tracked) for name, layer in norm.items()}
    seen = {name: [] for name in TWO}
    for name in TWO:
        network.encoders[name].register_forward_hook(lambda m, x, y, name=name: seen[name].append(len(x[0])))
    kept = np.zeros(8, dtype=np.int64)
    inputs, _ = next(data.batches([np.arange(8)]))
    network.train()
    rows = {n: torch.from_numpy(x) for n, x in rows_to_encode(network, kept, Ranks()).items()}
    network.forward_rows(inputs, rows, torch.from_numpy(kept))
    assert seen == {"audio": [8], "video": []}
    assert {n: int(layer.num_batches_tracked) - shown[n] for n, layer in norm.items()} == {"audio": 1, "video": 0}


def test_one_sample_alone_is_encoded_beside_another_and_ranks_share_the_rows():
    network = make_network(TWO)
    alone = rows_to_encode(network, np.array([0, 0, 0, 1]), Ranks())
    assert {n: x.tolist() for n, x in alone.items()} == {"audio": [0, 1, 2], "video": [0, 3]}
    shared = [rows_to_encode(network, np.array([0, 1, 0, 1, 1]), Ranks(rank, 2))["video"].tolist() for rank in (0, 1)]
    assert shared == [[2], [0, 1]]  # global 4; global 1 and 3
    arranged = Arranged(np.arange(4), np.array([ALL, ALL, 0, ALL]))
    assert part_of(arranged, 0, 2) is None
    assert part_of(arranged, 2, 2).tolist() == [0, ALL]


def test_remix_by_hand_in_plain_torch_over_its_steps():
    network, reference, data = make_network(TWO), make_network(TWO), Toy(TWO)
    still = SGD.__class__("sgd", learning_rate=0.1, momentum=0.0)
    train(Remix(warm_up=0, batches="blocks"), network, data, batch_size=22, epochs=3, optimiser=still)
    for epoch in range(3):
        order = np.random.default_rng(epoch).permutation(22)
        inputs, labels = {n: x[order] for n, x in data.inputs.items()}, data.labels[order]
        features = {n: reference.encoders[n](x).relu() for n, x in inputs.items()}
        probabilities = {n: reference.heads[n](x).softmax(dim=1).detach() for n, x in features.items()}
        entropies = torch.stack([-(p * p.log()).sum(dim=1) for p in probabilities.values()], dim=1)
        chosen = entropies.argmax(dim=1)
        features = {n: x * (chosen == i)[:, None] for i, (n, x) in enumerate(features.items())}
        fused = reference.fusion.head(torch.cat(list(features.values()), dim=1))
        loss = F.cross_entropy(fused, labels, reduction="none")
        for i, (n, x) in enumerate(features.items()):
            loss = loss + (chosen == i) * F.cross_entropy(reference.heads[n](x), labels, reduction="none")
        reference.zero_grad()
        loss.mean().backward()
        with torch.no_grad():
            for p in reference.parameters():
                p.sub_(0.1 * p.grad)
    for mine, right in zip(network.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(mine, right, atol=1e-6, rtol=1e-5)


def sure(share, labels):
    """Return logits of two classes that give each of `labels` the probability `share`."""
    return torch.stack([log(share, 1 - share)[0] if label == 0 else log(1 - share, share)[0] for label in labels])


def test_midas_weighs_labels_by_confidence_and_the_weaker_modality_more_while_it_is_neglected():
    labels = [0, 1]
    one_hot = torch.eye(2)
    # The fused prediction gives the label of audio .9 and that of video .1, whoever they are.
    fuse = lambda features: (0.9 * features["audio"] + 0.1 * features["video"]).log()  # noqa: E731
    logits = {"audio": sure(0.9, labels), "video": sure(0.3, labels)}
    features = {"audio": one_hot, "video": one_hot}
    seen = Seen(features, logits, fuse(features), torch.tensor(labels), fuse)
    strategy = Midas(hardness="off")
    context = context_of(strategy, make_network(TWO), {"weak": torch.ones(())})
    loss = strategy.misaligned(context, seen, torch.tensor([[0, 1], [1, 0]]))
    weak = 1 + 0.05 * (0.25 - 0.1)  # 1.0075
    assert float(context.state["weak"]) == pytest.approx(weak, abs=1e-6)
    torch.testing.assert_close(loss, torch.full((2,), -(0.75 * math.log(0.9) + weak * 0.25 * math.log(0.1))))
    # It falls back to 1 at the least, and starts each epoch there.
    surer = replace(seen, fuse=lambda x: (0.1 * x["audio"] + 0.9 * x["video"]).log())
    strategy.misaligned(context, surer, torch.tensor([[0, 1], [1, 0]]))
    assert float(context.state["weak"]) == 1
    context.state["weak"] = torch.tensor(3.0)
    strategy.plan(context, {}, {})
    assert float(context.state["weak"]) == 1


def test_midas_rows_weigh_the_cosine_of_what_is_put_in_and_what_is_replaced():
    labels = [0, 1]
    features = {"audio": torch.tensor([[1.0, 0.0], [1.0, 1.0]]), "video": torch.tensor([[1.0, 0.0], [-1.0, 0.0]])}
    fuse = lambda features: torch.zeros(2, 2)  # noqa: E731
    logits = {"audio": sure(0.5, labels), "video": sure(0.5, labels)}
    seen = Seen(features, logits, torch.zeros(2, 2), torch.tensor(labels), fuse)
    for hardness, of_video in (("clamp", 0.0), ("paper", -1.0)):
        strategy = Midas(hardness=hardness, rate=0.0)
        context = context_of(strategy, make_network(TWO), {"weak": torch.ones(())})
        loss = strategy.misaligned(context, seen, torch.tensor([[0, 1], [1, 0]]))
        torch.testing.assert_close(loss, torch.full((2,), math.log(2) * (of_video + 0.5**0.5) / 2))


def test_midas_puts_samples_of_different_classes_together():
    network, data = make_network(THREE), Toy(THREE)
    seen = seen_of(network, data, range(22))
    sources = draw_sources(seen, draw(22).uniform("sources", 22, 2))
    assert sources.shape == (3, 22)
    assert sources[0].tolist() == list(range(22))
    assert (seen.labels[sources[1]] != seen.labels).all()
    # Samples of one class only have no partner, and no loss of misaligned features.
    same = replace(seen, labels=torch.zeros_like(seen.labels))
    context = context_of(Midas(), network, {"weak": torch.ones(())})
    assert (Midas().misaligned(context, same, draw_sources(same, draw(22).uniform("sources", 22, 2))) == 0).all()


def test_midas_trains_the_heads_alone_in_its_warm_up():
    strategy, network = Midas(warm_up=0.5), make_network(TWO)
    state = strategy.start(setting_for(network), {}, CLASSES)
    weights = [strategy.plan(context_of(strategy, network, state, epoch), {}, {}).weights for epoch in range(4)]
    assert [w is None or w.fused for w in weights] == [None, None, True, True]


def test_mcr():
    assert float(divergence(log(0.9, 0.1), log(0.5, 0.5), "js")) == pytest.approx(0.101749, abs=1e-6)
    network, data = make_network(TWO), Toy(TWO)
    seen = seen_of(network, data)
    orders = torch.stack([torch.arange(9), torch.arange(9).roll(1)])
    torch.testing.assert_close(dependence(seen.fuse, seen.features, "audio", orders[:1]), torch.zeros(9))
    changed = network.fuse(seen.features | {"audio": seen.features["audio"].roll(1, dims=0)})
    right = divergence(changed.log_softmax(dim=1), seen.fused.log_softmax(dim=1), "js") / 2  # and 0 for the first
    torch.testing.assert_close(dependence(seen.fuse, seen.features, "audio", orders), right)


@pytest.mark.parametrize("game", ["greedy", "independent", "collaborative"])
def test_encoders_play_for_their_own_modality(game):
    network, data = make_network(TWO), Toy(TWO)
    seen = seen_of(network, data)
    strategy = Mcr(game=game, permutations=4)
    orders = draw(9).uniform("permutations", 4).argsort(dim=0).T
    own = {}
    for name in TWO:
        value = dependence(seen.fuse, seen.features, name, orders).sum()
        own[name] = torch.autograd.grad(value, list(seen.features.values()), retain_graph=True)
    found = torch.autograd.grad(
        strategy.regulariser(seen, draw(9)).sum(), list(seen.features.values()), retain_graph=True
    )
    for number, (name, other) in enumerate(zip(TWO, TWO[::-1], strict=True)):
        mine, theirs = own[name][number], own[other][number]
        expected = {"greedy": theirs - mine, "independent": -mine, "collaborative": -mine - theirs}[game]
        torch.testing.assert_close(found[number], expected, atol=1e-7, rtol=1e-4)


def test_contrastive_by_loops():
    random = torch.Generator().manual_seed(0)
    features, labels = [torch.randn(4, 3, generator=random) for _ in TWO], torch.tensor([0, 1, 0, 2])
    views = [F.normalize(x, dim=0) for x in torch.cat(features)]
    every = labels.tolist() * 2
    expected = torch.zeros(4)
    for a in range(8):
        losses = []
        for b in range(8):
            if a != b and every[a] == every[b]:
                pair = math.exp(float(views[a] @ views[b]) / 0.5)
                others = sum(math.exp(float(views[a] @ views[c]) / 0.5) for c in range(8) if every[c] != every[a])
                losses.append(-math.log(pair / (pair + others)))
        expected[a % 4] += sum(losses) / len(losses) / 2
    torch.testing.assert_close(contrastive(features, labels, 0.5), expected)
    assert (contrastive(features, torch.zeros(4, dtype=torch.int64), 0.5) == 0).all()
