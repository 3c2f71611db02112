"""Values of ETMC, CML, InfoReg, DOMFN and Diagnosing and Re-learning, computed by hand or by another way."""

import math
from itertools import combinations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from toy import Toy, context_of, make_network, seen_of, setting_for, start

from bss.models.predicted_logits import predicted_logits
from bss.strategies import EpochPlan, Facts, Gradients
from bss.strategies.cml import Cml, rise
from bss.strategies.domfn import Domfn
from bss.strategies.etmc import Etmc
from bss.strategies.evidence import alpha_of, combined, divergence_from_uniform, evidential_loss
from bss.strategies.inforeg import InfoReg, growth
from bss.strategies.relearning import Relearning
from bss.strategies.shares import share_logits
from bss.strategies.surest import divergence, surest
from bss.training.distributed.ranks import ALONE
from bss.training.strategy.head_facts import read_facts
from bss.training.strategy.purity import purity

TWO = ("audio", "video")
THREE = ("audio", "video", "text")


def test_dempster():
    one, other = torch.tensor([[3.0, 1.0]]), torch.tensor([[2.0, 2.0]])
    # K = .125, b = (.571429, .142857), u = .285714.
    torch.testing.assert_close(combined([one, other]), torch.tensor([[5.0, 2.0]]))
    assert combined([one]) is one
    # Belief of 0 on one side changes nothing; order changes nothing up to rounding.
    torch.testing.assert_close(combined([one, torch.ones(1, 2)]), one)
    third = torch.tensor([[1.5, 4.0]])
    torch.testing.assert_close(combined([one, other, third]), combined([third, one, other]))


def test_evidential_loss():
    alpha = torch.tensor([[3.0, 1.0]])
    assert float(evidential_loss(alpha, torch.tensor([0]), 0.0)) == pytest.approx(1 / 3, abs=1e-6)
    assert float(evidential_loss(alpha, torch.tensor([1]), 0.0)) == pytest.approx(1.833333, abs=1e-6)
    assert float(evidential_loss(alpha, torch.tensor([1]), 1.0)) == pytest.approx(1.833333 + 0.4319457, abs=1e-5)
    assert float(evidential_loss(alpha, torch.tensor([0]), 1.0)) == pytest.approx(1 / 3, abs=1e-6)
    alphas = torch.tensor([[1.5, 2.0, 4.0], [1.0, 1.0, 1.0]])
    dirichlet = torch.distributions.Dirichlet
    right = torch.distributions.kl_divergence(dirichlet(alphas), dirichlet(torch.ones(2, 3)))
    torch.testing.assert_close(divergence_from_uniform(alphas), right)


def test_etmc_takes_the_fused_head_as_a_view_and_anneals_by_epoch():
    network = make_network(TWO)
    strategy, seen = Etmc(annealing=4), seen_of(network, Toy(TWO))
    views = [F.softplus(z) + 1 for z in (*seen.logits.values(), seen.fused)]
    for epoch, weight in ((0, 0.0), (2, 0.5), (9, 1.0)):
        (objective,) = strategy.objectives(context_of(strategy, network, epoch=epoch), seen)
        expected = sum(evidential_loss(v, seen.labels, weight) for v in [*views, combined(views)])
        torch.testing.assert_close(objective.loss, expected)
    assert strategy.prediction(setting_for(network)) == "evidence"
    scores = predicted_logits("evidence", seen.logits, seen.fused)
    whole = combined([alpha_of(z) for z in (*seen.logits.values(), seen.fused)])
    torch.testing.assert_close(scores.softmax(dim=1), whole / whole.sum(dim=1, keepdim=True))


def test_cml():
    whole, part = torch.tensor([0.7, 0.6]), torch.tensor([0.8, 0.5])
    assert float(rise(whole, part, "samples").mean()) == pytest.approx(0.05)
    torch.testing.assert_close(rise(whole, part, "batch"), torch.zeros(2), atol=1e-7, rtol=0)


@pytest.mark.parametrize("names", [TWO, THREE])
def test_cml_compares_each_subset_with_those_that_lack_one_of_its_modalities(names):
    network = make_network(names)
    strategy, seen = Cml(loss="published"), seen_of(network, Toy(names))
    (objective,) = strategy.objectives(context_of(strategy, network), seen)
    shares = share_logits(seen)
    sure, entropies = {}, []
    for size in range(1, len(names) + 1):
        for subset in combinations(names, size):
            logits = sum(shares[name] for name in subset)
            sure[frozenset(subset)] = logits.softmax(dim=1).amax(dim=1)
            if size < len(names):
                entropies.append(F.cross_entropy(logits, seen.labels, reduction="none"))
    pairs = [(a, b) for a in sure for b in sure if b < a and len(a) == len(b) + 1]
    assert len(pairs) == {2: 2, 3: 9}[len(names)]
    rises = sum((sure[b] - sure[a]).clamp_min(0) for a, b in pairs) / len(pairs)
    expected = F.cross_entropy(seen.fused, seen.labels, reduction="none") + 0.1 * rises
    torch.testing.assert_close(objective.loss, expected + sum(entropies) / len(entropies))


def test_inforeg_pulls_who_is_surer():
    found = InfoReg().pulls(torch.tensor([0.9, 0.4]), TWO)
    torch.testing.assert_close(found, torch.tensor([1.508060, 0.0]), atol=1e-6, rtol=0)
    three = InfoReg(strength=0.1).pulls(torch.tensor([0.9, 0.4, 0.6]), THREE)
    expected = [0.1 * math.exp(math.tanh(0.4)), 0.0, 0.0]
    torch.testing.assert_close(three, torch.tensor(expected))


def test_inforeg_growth():
    assert growth([0.8] * 5 + [0.8, 0.8, 0.8, 0.8, 0.8, 2.8], 10) == pytest.approx((1.0 - 0.8) / 1.0)
    assert growth([3.0], 10) == 1.0
    assert growth([], 10) == 0.0
    assert growth([1.0] * 30, 10) == pytest.approx(0.0)


def test_inforeg_holds_to_the_start_of_the_epoch_while_the_trace_grows():
    strategy, network = InfoReg(epochs=2), make_network(TWO)
    modules = start(strategy, network).modules
    state = strategy.start(setting_for(network), modules, 3)
    assert strategy.plan(context_of(strategy, network, state, 0), {}, modules) == EpochPlan()
    assert state["held"] == [False, False]
    gathered = torch.tensor([9.0, 4.0, 10.0])
    for step in range(2):
        for p in network.parameters():
            p.grad = torch.full_like(p, 1.0 + step)
        strategy.after(context_of(strategy, network, state), gathered, Gradients(modules), None)
    tensors = len(list(network.encoders["audio"].parameters()))
    assert state["trace"].tolist() == [5.0 * tensors] * 2  # 1 and 4, of each tensor
    state["trace"][1] = 0.0
    strategy.plan(context_of(strategy, network, state, 1), {}, modules)
    assert state["held"] == [True, False]
    with torch.no_grad():
        for p in network.parameters():
            p.add_(0.5)
            p.grad = torch.ones_like(p)
    strategy.after(context_of(strategy, network, state), gathered, Gradients(modules), None)
    for name, p in network.named_parameters():
        wanted = 1 + 0.5 * 1.508060 if name.startswith("encoders.audio.") else 1.0
        torch.testing.assert_close(p.grad, torch.full_like(p, wanted), atol=1e-5, rtol=0)
    # The same trace again: its mean over two epochs still grows; after that it does not.
    for epoch, held in ((2, True), (3, False)):
        state["trace"][0] = state["traces"][0][0]
        strategy.plan(context_of(strategy, network, state, epoch), {}, modules)
        assert state["held"][0] == held
    assert state["start"]["audio"] == []


def test_domfn():
    found = Domfn(eta=0.1).head_loss(torch.tensor(0.8), torch.tensor(0.04))
    assert float(found) == pytest.approx(0.316)
    heads = torch.tensor([[[0.9, 0.1], [0.6, 0.4]], [[0.8, 0.2], [0.5, 0.5]]]).log()
    fused = torch.tensor([[0.7, 0.3], [0.2, 0.8]]).log()
    apart = torch.tensor([[0.04, 0.16], [0.01, 0.09]])
    torch.testing.assert_close(divergence(heads, fused), apart)
    # At 0.1 both heads agree on the first sample alone; on the second the first head is the surest.
    torch.testing.assert_close(surest(heads, fused, 0.1), torch.stack([fused[0], heads[0, 1]]))
    torch.testing.assert_close(surest(heads, fused, 0.2), fused)
    torch.testing.assert_close(surest(heads, fused, 0.0), heads[0])
    logits = dict(zip(TWO, heads, strict=True))
    torch.testing.assert_close(predicted_logits("surest", logits, fused, 0.1), surest(heads, fused, 0.1))


def test_domfn_has_a_joint_loss_only_where_the_heads_agree():
    network = make_network(TWO)
    seen = seen_of(network, Toy(TWO), range(22))
    stacked = torch.stack(list(seen.logits.values()))
    apart = divergence(stacked, seen.fused).detach()
    middle = float(apart.amax(dim=0).median())
    strategy = Domfn(agreement=middle)
    (objective,) = strategy.objectives(context_of(strategy, network), seen)
    entropies = [F.cross_entropy(z, seen.labels, reduction="none") for z in (*stacked, seen.fused)]
    agree = (apart < middle).all(dim=0)
    assert 0 < int(agree.sum()) < 22
    alone = sum(0.5 * e**2 - 0.1 * a for e, a in zip(entropies, apart, strict=False))
    torch.testing.assert_close(objective.loss, alone + agree * sum(entropies))
    assert strategy.network(setting_for(network)) == {"agreement": middle}


def test_purity():
    features = np.array([[0, 0], [0, 0.1], [0.1, 0], [5, 5], [5, 5.1], [5.1, 5]], dtype=np.float32)
    assert purity(features, np.array([0, 0, 0, 1, 1, 1]), 2) == 1.0
    assert purity(features, np.array([0, 0, 1, 1, 1, 0]), 2) == pytest.approx(4 / 6)
    assert purity(np.zeros((4, 2), dtype=np.float32), np.array([0, 0, 0, 1]), 2) == 0.75
    # A feature's scale does not matter.
    assert purity(features * [1, 1000], np.array([0, 0, 0, 1, 1, 1]), 2) == 1.0


def test_relearning_takes_an_encoder_back_by_its_gap():
    strategy, network = Relearning(every=2, times=2), make_network(TWO)
    modules = start(strategy, network).modules
    state = strategy.start(setting_for(network), modules, 3)
    assert strategy.weight(0.2) == pytest.approx(0.537050, abs=1e-6)
    reads = [strategy.reads(context_of(strategy, network, state, epoch, 9)) for epoch in range(9)]
    assert reads == [epoch in (2, 4) for epoch in range(9)]
    first = {name: p.detach().clone() for name, p in network.named_parameters()}
    with torch.no_grad():
        for p in network.parameters():
            p.add_(1)
    found = {
        split: Facts({}, 0.0, {}, {}, dict(zip(TWO, purities, strict=True)))
        for split, purities in (("train", (0.9, 0.5)), ("val", (0.7, 0.5)))
    }
    context = context_of(strategy, network, state, 2)
    assert strategy.plan(context, {}, modules) == EpochPlan()
    assert strategy.plan(context, found, modules).restarted == ()
    for name, p in network.named_parameters():
        moved = 1 - 0.537050 if name.startswith("encoders.audio.") else 1.0
        torch.testing.assert_close(p, first[name] + moved, atol=1e-6, rtol=0)
    dropped = Relearning(momentum="dropped").plan(context, found, modules).restarted
    assert dropped == (("encoder", "audio"), ("encoder", "video"))


def test_purity_is_read_of_each_modality_in_eval_mode():
    data, network = Toy(TWO), make_network(TWO)
    found = read_facts(network, data, ALONE, clustered=True).purity
    features = network.activate(network(data.inputs).features)
    for name in TWO:
        assert found[name] == purity(features[name].detach().numpy(), data.labels.numpy(), 3)
    assert read_facts(network, data, ALONE).purity == {}
