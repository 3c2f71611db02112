"""What holds for every strategy: each file of bss/strategies has its entries in CASES."""

import contextlib
import copy
import functools
from dataclasses import replace

import numpy as np
import pytest
import torch
from toy import (
    CLASSES,
    EPOCHS,
    SGD,
    Toy,
    facts_of,
    make_network,
    network_for,
    ranks_of,
    renamed,
    setting_for,
    start,
    toy_for,
    train,
    train_on_ranks,
)
from waiting import waiting

from bss.config.fusion import Gated, Sum
from bss.config.strategies import find_strategies
from bss.config.training import SgdConfig
from bss.models.heads import last_layer
from bss.models.network import IGNORED
from bss.strategies.agm import Agm
from bss.strategies.amss import Amss
from bss.strategies.aug import Aug
from bss.strategies.cml import Cml
from bss.strategies.dgl import Dgl
from bss.strategies.domfn import Domfn
from bss.strategies.etmc import Etmc
from bss.strategies.g2d import G2d
from bss.strategies.gblending import GBlending
from bss.strategies.inforeg import InfoReg
from bss.strategies.lfm import Lfm
from bss.strategies.longer import Longer
from bss.strategies.mbsd import Mbsd
from bss.strategies.mcr import Mcr
from bss.strategies.midas import Midas
from bss.strategies.mixup import Mixup
from bss.strategies.mla import Mla
from bss.strategies.mlb import Mlb
from bss.strategies.mmpareto import MmPareto
from bss.strategies.modality_dropout import ModalityDropout
from bss.strategies.mses import Mses
from bss.strategies.mslr import Mslr
from bss.strategies.none import Plain
from bss.strategies.ogm import Ogm
from bss.strategies.opm import Opm
from bss.strategies.pmr import Pmr
from bss.strategies.reconboost import ReconBoost
from bss.strategies.relearning import Relearning
from bss.strategies.remix import Remix
from bss.strategies.repair import Repair
from bss.strategies.smp import Smp
from bss.strategies.smv import Smv
from bss.strategies.umt import Umt
from bss.strategies.weights import Weighted
from bss.training.network_parts import parameter_groups
from bss.training.steps import make_optimiser, train_epoch
from bss.training.strategy.head_facts import read_columns

NO_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
ALL = (0.0, 1.0)
CASES = {
    "none": Plain(),
    "fused only": Weighted(fused=1.0, unimodal=0.0),
    "gradients x1.5": Weighted(encoder_gradients=1.5),
    "gradients x3": Weighted(encoder_gradients=3.0),
    "4 x unimodal": Weighted(unimodal=4.0),
    "independent": Weighted(fused=0.0),
    "label smoothing": Weighted(label_smoothing=0.1),
    "longer": Longer(),
    "mixup": Mixup(),
    "modality dropout": ModalityDropout(rate=0.5),
    "modality dropout to means": ModalityDropout(rate=0.5, absent="mean"),
    "ogm": Ogm(noise=False, window=ALL),
    "ogm-ge": Ogm(window=ALL),
    "ogm published": Ogm(loss="published", noise=False, window=ALL),
    "mlb": Mlb(),
    "agm": Agm(window=ALL),
    "agm of zeroed inputs": Agm(window=ALL, zero="inputs"),
    "g-blending": GBlending(every=1),
    "g-blending by probes": GBlending(every=2, probe="train", probe_epochs=1),
    "mslr": Mslr(),
    "mslr published": Mslr(loss="published"),
    "mslr smooth": Mslr(mode="smooth", coefficients={"audio": 0.5}),
    "mses": Mses(patience=1, smoothing=0.0),
    "smp": Smp(warm_up=1),
    "mbsd": Mbsd(),
    "lfm": Lfm(),
    "lfm learned": Lfm(schedule="learned", rate=20.0),
    "pmr": Pmr(window=ALL),
    "pmr by passes": Pmr(window=ALL, prototypes="pass", entropy=0.5, entropy_window=ALL),
    "pmr public": Pmr(window=ALL, prototypes="pass", share=0.5, factor="full"),
    "amss": Amss(),
    "amss+": Amss(weighing="code"),
    "amss of all parts": Amss(batch_norm=True, chances="equal"),
    "amss with classifier": Amss(classifier=True),
    "dgl": Dgl(),
    "dgl heads": Dgl(through="heads"),
    "mla": Mla(),
    "mla projection": Mla(projection="paper"),
    "reconboost": ReconBoost(alone=1, joint=1),
    "reconboost agreement": ReconBoost(alone=2, joint=1, agreement=0.5),
    "aug": Aug(width=4, every=1),
    "etmc": Etmc(annealing=2),
    "cml": Cml(),
    "cml drawn": Cml(pairs="drawn"),
    "domfn": Domfn(agreement=0.1),
    "inforeg": InfoReg(epochs=2),
    "inforeg published": InfoReg(loss="published", strengths={"video": 0.1}, gate="audio", gap="sum", first_epoch=True),
    "relearning": Relearning(every=1),
    "relearning without momentum": Relearning(every=2, momentum="dropped"),
    "umt": Umt(),
    "g2d": G2d(),
    "g2d published": G2d(loss="published", temperature=2.0),
    "g2d by batch": G2d(decide="batch"),
    "aug code": Aug(width=4, every=1, compare="ratio", older="softmax", train_new=False),
    "mmpareto": MmPareto(),
    "mmpareto tensor": MmPareto(norm="tensor"),
    "opm": Opm(window=ALL),
    "opm to means": Opm(window=ALL, absent="mean"),
    "smv": Smv(warm_up=1),
    "smv to means": Smv(warm_up=1, absent="mean"),
    "smv modality": Smv(level="modality", alpha=3.0, warm_up=1, keep_length=True),
    "remix": Remix(warm_up=1),
    "remix to means": Remix(warm_up=1, absent="mean"),
    "remix published": Remix(loss="published", warm_up=1, batches="blocks"),
    "midas": Midas(rate=0.5, warm_up=0.25),
    "repair": Repair(warm_up=1, smoothing=0.2),
    "repair by replacing": Repair(how="replace", warm_up=1, smoothing=0.2),
    "repair by full passes": Repair(measuring="full", warm_up=1, smoothing=0.2),
    "mcr": Mcr(strength=1.0, permutations=3),
    "mcr collaborative": Mcr(strength=1.0, permutations=3, game="collaborative", contrast=0.0),
}
NEUTRAL = {
    "none": Plain(),
    "weights": Weighted(),
    "longer": Longer(),
    "modality-dropout": ModalityDropout(rate=0.0),
    "ogm": Ogm(alpha=0.0, noise=False, window=ALL),
    "ogm outside": Ogm(window=(0.5, 0.5)),
    "mlb": Mlb(alpha=0.0),
    "mlb outside": Mlb(window=(0.0, 0.0)),
    "agm": Agm(alpha=0.0, window=ALL),
    "agm outside": Agm(window=(1.0, 1.0)),
    "g-blending": GBlending(every=EPOCHS),
    "mslr": Mslr(mode="keep"),
    "mses": Mses(patience=100),
    "smp": Smp(warm_up=EPOCHS),
    "mbsd": Mbsd(strength=0.0),
    "pmr": Pmr(alpha=0.0),
    "pmr outside": Pmr(window=(0.0, 0.0)),
    "amss": Amss(bounds=(1.0, 1.0)),
    "cml": Cml(strength=0.0, subsets=0.0),
    "inforeg": InfoReg(strength=0.0),
    "relearning": Relearning(every=1, strength=0.0),
    "umt": Umt(strength=0.0),
    "g2d": G2d(features=0.0, logits=0.0, freeze=False),
    "opm": Opm(rate=0.0, window=ALL),
    "opm outside": Opm(window=(0.0, 0.0)),
    "smv": Smv(warm_up=EPOCHS),
    "remix": Remix(warm_up=EPOCHS),
    "midas": Midas(strength=0.0, warm_up=0.0),
    "repair": Repair(warm_up=EPOCHS),
    "mcr": Mcr(strength=0.0, contrast=0.0),
}
ALWAYS_ACT = {"mixup", "lfm", "dgl", "mmpareto", "mla", "reconboost", "aug", "etmc", "domfn"}
"""Kinds with no parameters that make them plain training to the bit."""
DROPOUT = {"modality dropout", "modality dropout to means"}
DROPPING = {*DROPOUT, "opm", "opm to means", "smv", "smv to means", "smv modality", "midas", "cml drawn"}
"""Which modality a draw takes depends on their order."""
DRAW = {"mixup", *DROPPING, "ogm-ge", "amss", "amss+", "amss of all parts", "mcr"}
NAMING = {"mslr smooth", "inforeg published"}
"""Have parameters for single modalities."""
BY_PART = {
    "mixup",
    *DROPOUT,
    "remix to means",
    "smv to means",
    "agm of zeroed inputs",
    "pmr",
    "pmr by passes",
    "pmr public",
    "cml drawn",
    "opm",
    "opm to means",
    "midas",
    "mcr",
    "mcr collaborative",
    "repair by replacing",
}
"""Draw, weigh or replace per part of a batch, so that accumulation changes them."""
BY_ORDER = {"mla", "reconboost", "aug"}
"""Kinds whose turns or stages follow the order of the modalities."""
ONE_RANK = {"mixup", "midas", "mcr", "mcr collaborative", "repair by replacing"}
HIDE = {"smv", "smv to means", "smv modality", "remix", "remix to means", "remix published"}
"""Show some samples with one modality only, which scores do not observe."""
CONCATENATED = {"amss with classifier"}
"""Support no other fusion."""
TWO = ("audio", "video")
THREE = ("audio", "video", "text")
STILL = SgdConfig("sgd", learning_rate=1e-12, momentum=0.0)
FIRST = {strategy.kind: case for case, strategy in reversed(CASES.items())}
# The fast lane tries each kind once, and the lane of all tests its variants too.
every = pytest.mark.parametrize(
    "case",
    [
        case if case == FIRST[strategy.kind] else pytest.param(case, marks=pytest.mark.slow)
        for case, strategy in CASES.items()
    ],
)


def weights_of(network):
    return {name: value.clone() for name, value in network.state_dict().items()}


@functools.cache
def trained(case):
    """Return the network and the run of a trial with two modalities, shared by tests that only read them."""
    network = network_for(CASES[case], TWO)
    return network, train(CASES[case], network, toy_for(CASES[case], TWO))


@functools.cache
def plainly_trained(names):
    """Return the network of a plain training and its losses."""
    network, losses = make_network(names), []
    train(None, network, Toy(names), observe=lambda i, o, loss: losses.append(loss.tolist()))
    return network, losses


@pytest.mark.parametrize("case", CASES)
def test_each_case_acts_within_its_epochs(case):
    assert CASES[case].onset(setting_for(make_network(TWO))).epoch < EPOCHS


LATE = {
    "g-blending": GBlending(every=2),
    "mses": Mses(patience=1, smoothing=0.0),
    "mslr": Mslr(),
    "smp": Smp(warm_up=1),
    "pmr": Pmr(window=(0.5, 1.0)),
    "inforeg": InfoReg(strength=5.0),
    "relearning": Relearning(every=2),
    "ogm": Ogm(window=(0.5, 1.0)),
    "opm": Opm(window=(0.5, 1.0), execute=1.0),
    "agm": Agm(window=(0.5, 1.0)),
    "smv": Smv(warm_up=2),
    "remix": Remix(warm_up=2),
    "repair": Repair(warm_up=2, smoothing=0.2),
}
"""Begin to act after the first epoch of four."""


def weights_by_epoch(strategy, data):
    network, found = make_network(TWO), []
    train(strategy, network, data, after_epoch=lambda: found.append(weights_of(network)))
    return found


@pytest.mark.parametrize("kind", LATE)
def test_it_first_acts_in_the_epoch_that_its_onset_says(kind):
    """The epochs before are those of plain training, to the bit."""
    strategy, data = LATE[kind], toy_for(LATE[kind], TWO)
    onset = strategy.onset(setting_for(make_network(TWO))).epoch
    assert 0 < onset < EPOCHS
    pairs = zip(weights_by_epoch(None, data), weights_by_epoch(strategy, data), strict=True)
    same = [all(torch.equal(plain[name], value) for name, value in own.items()) for plain, own in pairs]
    assert same == [epoch < onset for epoch in range(EPOCHS)]


def assert_close(one, other, atol=1e-6):
    for name, value in weights_of(one).items():
        torch.testing.assert_close(value, other.state_dict()[name], atol=atol, rtol=1e-5)


def assert_same_state(one, other, atol=0.0):
    assert one.keys() == other.keys()
    for name, value in one.items():
        if isinstance(value, dict):
            assert_same_state(value, other[name], atol)
        elif isinstance(value, torch.Tensor):
            torch.testing.assert_close(value, other[name], atol=atol, rtol=atol)
        elif isinstance(value, list):
            assert_same_state(dict(enumerate(value)), dict(enumerate(other[name])), atol)
        else:
            assert value == (pytest.approx(other[name], abs=atol) if isinstance(value, float) else other[name])


def test_every_strategy_is_here():
    kinds = {entry.kind for entry in find_strategies()}
    assert {strategy.kind for strategy in CASES.values()} == kinds
    assert {strategy.kind for strategy in NEUTRAL.values()} == kinds - ALWAYS_ACT


@pytest.mark.parametrize("case", NEUTRAL)
@pytest.mark.parametrize("names", [TWO, THREE], ids=["two", "three"])
def test_neutral_or_outside_its_window_it_is_plain_training_to_the_bit(case, names):
    (plain, expected), other, losses = plainly_trained(names), make_network(names), []
    train(NEUTRAL[case], other, Toy(names), observe=lambda i, o, loss: losses.append(loss.tolist()))
    assert losses == expected
    for name, value in plain.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name


@pytest.mark.slow
@every
def test_it_changes_training_or_is_a_control_that_need_not(case):
    plain, (other, _) = network_for(CASES[case], TWO), trained(case)
    train(None, plain, toy_for(CASES[case], TWO))
    changed = any(not torch.equal(value, other.state_dict()[name]) for name, value in plain.state_dict().items())
    assert changed != CASES[case].plain


@pytest.mark.slow
@every
def test_parts_of_a_batch_add_up(case):
    if case in BY_PART:
        pytest.skip("acts by part")
    (whole, one), parts = trained(case), network_for(CASES[case], TWO)
    other = train(CASES[case], parts, toy_for(CASES[case], TWO), accumulate=4)
    assert_close(whole, parts)
    assert_same_state(one.context.state, other.context.state, atol=1e-4)


@pytest.mark.slow
@every
def test_two_ranks_are_one(case):
    if case in ONE_RANK:
        with pytest.raises(ValueError, match=r"train\.processes"):
            CASES[case].check(replace(setting_for(make_network(TWO)), ranks=2))
        return
    alone, run = trained(case)
    (first, one), (second, two) = train_on_ranks(CASES[case], TWO, 2)
    assert_close(alone, first)
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name
    assert_same_state(one.context.state, two.context.state)
    assert_same_state(run.context.state, one.context.state, atol=1e-4)


@pytest.mark.slow
@every
def test_renaming_and_reordering_permutes_the_results(case):
    """Names that occur in each other too; the order of summands differs, and so the last bits."""
    strategy, fusion = CASES[case], Sum()
    if case in CONCATENATED:
        pytest.skip("masks the head of a concatenation")
    names = {"video": "video", "audio": "audio"} if case in DRAW | NAMING else {"video": "e", "audio": "head"}
    if strategy.kind in BY_ORDER or case in DROPPING:
        names = {"audio": "head", "video": "e"}
    one = network_for(strategy, TWO, fusion)
    other = renamed(one, names, fusion)
    data, same = toy_for(CASES[case], TWO), toy_for(CASES[case], TWO)
    same.inputs = {new: data.inputs[old] for old, new in names.items()}
    train(strategy, one, data)
    train(strategy, other, same)
    assert_close(renamed(one, names, fusion), other, atol=1e-5)


@pytest.mark.slow
@every
@pytest.mark.parametrize("fusion", [None, Gated()], ids=["concatenation", "gated"])
def test_three_modalities(case, fusion):
    if fusion is not None and case in CONCATENATED:
        with pytest.raises(ValueError, match=r"network\.fusion\.kind"):
            CASES[case].check(setting_for(make_network(THREE, fusion)))
        return
    network = network_for(CASES[case], THREE, fusion)
    before = weights_of(network)
    train(CASES[case], network, toy_for(CASES[case], THREE), epochs=3)
    assert all(torch.isfinite(value).all() for value in network.state_dict().values())
    assert any(not torch.equal(value, before[name]) for name, value in network.state_dict().items())


class Ignoring(Toy):
    """The same data with decisions that ignore a modality of some samples."""

    def __init__(self, data, ignored):
        self.__dict__, self.ignored = dict(vars(data)), ignored

    def batches(self, indices, augmentation=None):
        for index, (inputs, labels) in zip(indices, super().batches(indices), strict=True):
            yield inputs | {IGNORED: self.ignored[torch.from_numpy(np.asarray(index))]}, labels


@pytest.mark.slow
@every
def test_what_decisions_ignore_has_no_influence(case):
    """Another input in its place gives the same weights, to the bit."""
    one, other = network_for(CASES[case], TWO), network_for(CASES[case], TWO)
    data, same = toy_for(CASES[case], TWO), toy_for(CASES[case], TWO)
    ignored = torch.zeros(len(data), 2, dtype=torch.bool)
    ignored[::3, 1] = True
    same.inputs["video"] = torch.where(ignored[:, 1:], 9 * same.inputs["video"].flip(0), same.inputs["video"])
    train(CASES[case], one, Ignoring(data, ignored))
    train(CASES[case], other, Ignoring(same, ignored))
    for name, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name


@every
def test_a_modality_that_is_always_ignored_is_not_trained(case):
    if case == "ogm-ge":
        pytest.skip("adds noise to the gradients of every encoder, as published")
    network, data = network_for(CASES[case], TWO), toy_for(CASES[case], TWO)
    before = weights_of(network)
    ignored = torch.zeros(len(data), 2, dtype=torch.bool)
    ignored[:, 1] = True
    train(CASES[case], network, Ignoring(data, ignored), optimiser=replace(SGD, weight_decay=0.0))
    shared = CASES[case].kind in ("mla", "aug")  # one last layer for all heads
    for name, value in network.state_dict().items():
        if name.startswith("encoders.video") or (name.startswith("heads.video") and not shared):
            assert torch.equal(value, before[name]), name


@pytest.mark.slow
@every
@pytest.mark.parametrize("extreme", ["equal", "one class", "one sample", "sure", "sure and wrong"])
def test_extremes_stay_finite(case, extreme):
    network, data = network_for(CASES[case], TWO), Toy(TWO, samples=1 if extreme == "one sample" else 12)
    with torch.no_grad():
        heads = [*map(last_layer, network.heads.values()), network.fusion.head]
        if extreme == "equal":
            for head in heads:
                head.weight.zero_()
                head.bias.zero_()
        elif extreme == "one class":
            data.labels.zero_()
        elif extreme.startswith("sure"):
            data.labels.zero_()
            for head in heads:
                head.bias.copy_(3e4 * torch.eye(CLASSES)[0 if extreme == "sure" else 1])
    train(CASES[case], network, data, batch_size=4 if len(data) > 1 else 2, epochs=3)
    for name, value in network.state_dict().items():
        assert torch.isfinite(value).all(), name


@every
def test_scores_observe_the_clean_pass(case):
    network, data = network_for(CASES[case], TWO), toy_for(CASES[case], TWO)
    seen = []
    run = start(CASES[case], network, data=data)
    for epoch in (0, 1):  # some act from the second epoch on
        optimiser = make_optimiser(network, STILL, parameter_groups(network))
        run.begin_epoch(epoch, facts_of(run, {"train": data, "val": data}))
        run.arrange(np.arange(9), lambda measure: read_columns(network, data, measure, run.ranks))
        clean = copy.deepcopy(network).train()
        batch = run.shown(np.arange(9))
        observe = lambda i, outputs, loss: seen.append((i, outputs, loss))  # noqa: E731
        train_epoch(network, optimiser, data, [batch], observe, seed=0, epoch=epoch, strategy=run)
        index, outputs, loss = seen.pop()
        if case not in HIDE or epoch == 0:
            assert sorted(index) == list(range(9))
        inputs, labels = next(data.batches([index]))
        right = clean(inputs)
        torch.testing.assert_close(loss, clean.loss(right, labels), atol=1e-5, rtol=0)
        for name, logits in right.logits.items():
            torch.testing.assert_close(outputs.logits[name], logits, atol=1e-5, rtol=0)
        torch.testing.assert_close(outputs.fused, right.fused, atol=1e-5, rtol=0)


@pytest.fixture
def quiet():
    yield
    if torch.cuda.is_available():
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=NO_GPU)])
@every
def test_a_step_waits_for_no_result(case, device, quiet):
    network, data = network_for(CASES[case], TWO).to(device), toy_for(CASES[case], TWO).to(device)
    run = start(CASES[case], network, data=data)
    optimiser = make_optimiser(network, STILL, parameter_groups(network))
    done = []  # what comes before the first and after the last step may wait

    def follow(step, total=None):
        done.append(step)
        if device == "cuda":
            torch.cuda.set_sync_debug_mode("error" if step < len(batches) else "default")

    for epoch in (0, 1):
        run.begin_epoch(epoch, facts_of(run, {"train": data, "val": data}))
        run.arrange(np.arange(18), lambda measure: read_columns(network, data, measure, run.ranks))
        batches = np.array_split(run.shown(np.arange(18)), 2)
        settings = {"seed": 0, "epoch": epoch, "accumulate": 2, "strategy": run}
        done.clear()
        last = len(batches)
        on_host = waiting(lambda last=last: done and done[-1] < last)
        with contextlib.nullcontext([]) if device == "cuda" else on_host as found:
            train_epoch(network, optimiser, data, batches, before_step=follow, after_step=follow, **settings)
        assert done == [0, 1, 1, 2]
        assert found == []


@pytest.mark.parametrize(
    "wait",
    [
        lambda x: x[0].item(),
        lambda x: x.tolist(),
        lambda x: x.numpy(),
        np.asarray,
        lambda x: x.cpu(),
        lambda x: x.to("cpu"),
        lambda x: bool(x[0] > 0),
        lambda x: x[x > 1],
        lambda x: x.masked_select(x > 1),
        lambda x: x.unique(),
        lambda x: x.nonzero(),
        lambda x: torch.where(x > 1),
        lambda x: x.__setitem__(x > 1, torch.zeros(2)),
        lambda x: torch.tensor(1.0, device=x.device),
        lambda x: x.repeat_interleave(torch.tensor([1, 2, 1])),
        lambda x: x.multinomial(2),
        lambda x: torch.equal(x, x),
    ],
)
def test_what_waits_is_found(wait):
    with waiting() as found:
        wait(torch.arange(1.0, 4.0))
    assert found


def test_what_does_not_wait_is_not_found():
    x = torch.arange(1.0, 4.0)
    with waiting() as found:
        x[torch.arange(2)] + x[:2].to(torch.float64)
        x[x > 1] = 0.0
        torch.full((), 2.0, device=x.device) * x.where(x > 1, 0)
    assert found == []


def test_ranks_average_in_one_message():
    calls = []

    class Counting(type(ranks_of(1)[0])):
        def add(self, tensor):
            calls.append(tensor.numel())
            tensor.mul_(2)

    tensors = [torch.ones(2, 3), torch.full((4,), 3.0)]
    Counting(0, 2).average(tensors)
    assert calls == [10]
    assert [float(x.mean()) for x in tensors] == [1.0, 3.0]
