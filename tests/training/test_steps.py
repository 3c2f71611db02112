import functools
import shutil

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from bss.balance import Learned, SequenceSampler
from bss.config.training import AdamConfig, AdamWConfig, SgdConfig
from bss.data.store import Store
from bss.errors import BssError
from bss.training.distributed.ranks import Ranks, Vote
from bss.training.evaluation import evaluate
from bss.training.initial_network import compiled, initial_network
from bss.training.measuring import measure
from bss.training.samples.split_data import SplitData
from bss.training.sequences import count_steps, split_into_batches
from bss.training.steps import make_optimiser, split_into_parts, train_epoch

BATCHES = split_into_batches(np.random.default_rng(0).permutation(48)[:35], 16)


@given(st.integers(1, 300), st.integers(2, 40))
def test_batches_keep_the_order_and_drop_nothing_and_none_is_a_single_sample(n, batch_size):
    sequence = np.random.default_rng(0).permutation(n)
    batches = split_into_batches(sequence, batch_size)
    np.testing.assert_array_equal(np.concatenate(batches), sequence)
    assert all(len(batch) in (batch_size, batch_size + 1) for batch in batches[:-1])
    assert len(batches[-1]) > 1 or n == 1
    assert count_steps(n, batch_size) == len(batches)


@given(st.integers(1, 300), st.integers(1, 40))
def test_drop_last_leaves_out_what_does_not_fill_a_batch_and_never_everything(n, batch_size):
    sequence = np.random.default_rng(0).permutation(n)
    if n < batch_size:
        with pytest.raises(BssError, match=rf"drop_last drops all {n} samples .* batch of {batch_size}"):
            split_into_batches(sequence, batch_size, drop_last=True)
        return
    batches = split_into_batches(sequence, batch_size, drop_last=True)
    assert {len(batch) for batch in batches} == {batch_size}
    np.testing.assert_array_equal(np.concatenate(batches), sequence[: n - n % batch_size])
    assert count_steps(n, batch_size, drop_last=True) == len(batches)


def test_batches_of_one_stay_single():
    assert [batch.tolist() for batch in split_into_batches(np.array([4, 2, 9]), 1)] == [[4], [2], [9]]


def test_the_optimiser_is_the_one_that_is_asked_for():
    network = torch.nn.Linear(2, 2)
    sgd = make_optimiser(network, SgdConfig("sgd", 0.1, 0.5, 0.01))
    assert isinstance(sgd, torch.optim.SGD)
    assert (sgd.defaults["lr"], sgd.defaults["momentum"], sgd.defaults["weight_decay"]) == (0.1, 0.5, 0.01)
    adam = make_optimiser(network, AdamConfig("adam", 0.2))
    assert isinstance(adam, torch.optim.Adam)
    assert adam.defaults["lr"] == 0.2


def test_adamw_takes_the_steps_of_the_published_algorithm():
    network = torch.nn.Linear(3, 1, bias=False)
    weights = network.weight.detach().double().numpy().copy()
    optimiser = make_optimiser(network, AdamWConfig("adamw", 0.1, 0.2))
    first, second = np.zeros_like(weights), np.zeros_like(weights)
    for step in range(1, 6):
        gradient = np.array([[1.0, -2.0, 0.5]]) * step
        network.weight.grad = torch.tensor(gradient, dtype=torch.float32)
        optimiser.step()
        weights *= 1 - 0.1 * 0.2
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        weights -= 0.1 * (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
        np.testing.assert_allclose(network.weight.detach().numpy(), weights, rtol=1e-5, atol=1e-6)


@pytest.fixture
def make_data(small_store, tree, make_config):
    """A freshly initialised network, without batch normalisation, and the training split."""

    def make(split="train", **changes):
        network = initial_network(make_config(tree | changes), Store.open(small_store), 1, torch.device("cpu"))
        for encoder in network.encoders.values():
            for name, layer in encoder.layers.named_children():
                if isinstance(layer, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
                    setattr(encoder.layers, name, torch.nn.Identity())
        return network, SplitData(Store.open(small_store), split, network, torch.device("cpu"))

    return make


def take_steps(network, data, accumulate=1, observe=None, batches=BATCHES, **settings):
    optimiser = make_optimiser(network, SgdConfig("sgd", learning_rate=0.1, momentum=0.5))
    return train_epoch(network, optimiser, data, batches, observe, seed=0, epoch=0, accumulate=accumulate, **settings)


@pytest.mark.parametrize("accumulate", [2, 3, 5])
def test_parts_of_a_batch_add_up_to_the_step_of_the_whole_one(make_data, accumulate, monkeypatch):
    whole, data = make_data()
    parts, same_data = make_data()
    for network in (whole, parts):
        monkeypatch.setattr(
            network.fusion, "penalty", lambda network=network: network.fusion.head.weight.square().sum()
        )
    seen = []
    loss = take_steps(whole, data)
    assert take_steps(parts, same_data, accumulate, lambda i, *_: seen.append(i.tolist())) == pytest.approx(loss)
    assert [index for part in seen for index in part] == np.concatenate(BATCHES).tolist()
    assert len(seen) == 2 * accumulate + 1  # the last batch has too few samples for parts
    for mine, other in zip(whole.parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(mine, other, atol=1e-6, rtol=1e-5)


@given(st.integers(2, 60), st.integers(1, 6))
def test_parts_hold_every_sample_of_a_batch_in_order_and_two_at_least(n, accumulate):
    batch = np.random.default_rng(0).permutation(n)
    parts = split_into_parts(batch, accumulate)
    assert np.concatenate(parts).tolist() == batch.tolist()
    assert len(parts) <= accumulate
    assert min(map(len, parts)) >= 2
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_a_step_waits_for_no_result(make_data):
    class Waits(TorchDispatchMode):
        """Counts where a number is fetched from a tensor, for which the host would wait for a GPU."""

        count = 0

        def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
            self.count += function in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default)
            return function(*arguments, **(keywords or {}))

    network, data = make_data()
    sampler = SequenceSampler(len(data), Learned(), 0, scores=np.zeros(len(data)))
    sampler.set_epoch(0)

    def observe(index, outputs, loss):
        sampler.observe(index, outputs.logits, loss, features=outputs.features)

    with Waits() as waits:
        take_steps(network, data, accumulate=2, observe=observe, clip=0.1)
    assert waits.count == 1  # the loss, when the epoch is over
    assert len(sampler.observations._waiting) == 5
    assert sampler.observations.seen.sum() == len(np.concatenate(BATCHES))


def test_training_in_bf16_comes_to_the_same_accuracy(make_data, tree):
    accuracies, losses = {}, {}
    for precision in ("fp32", "bf16"):
        train = tree["train"] | {"precision": precision}
        network, data = make_data(train=train)
        order = [np.random.default_rng(epoch).permutation(len(data)) for epoch in range(6)]
        losses[precision] = [take_steps(network, data, batches=split_into_batches(o, 8)) for o in order]
        test = make_data("test", train=train)[1]
        accuracies[precision] = evaluate(network, test, "test")["test/acc"]
        inputs, labels = next(test.batches([np.arange(5)]))
        outputs = network(inputs)
        kinds = {x.dtype for x in (outputs.fused, *outputs.logits.values(), *outputs.features.values())}
        assert kinds == {torch.float32}
        assert network.loss(outputs, labels).dtype == torch.float32
        columns = measure(network, test, ("training_loss", "gradient_magnitude"), [np.arange(5)])
        np.testing.assert_allclose(columns["training_loss"][:5], network.loss(outputs, labels).detach(), rtol=0.05)
        assert np.isfinite(columns["gradient_magnitude"][:5]).all()
    assert losses["bf16"] != losses["fp32"]
    assert losses["bf16"][-1] < 0.5 * losses["bf16"][0]
    np.testing.assert_allclose(losses["bf16"], losses["fp32"], rtol=0.03)
    assert accuracies["fp32"] > 0.9
    assert accuracies["bf16"] == pytest.approx(accuracies["fp32"], abs=0.06)


@pytest.mark.slow
def test_compiled_steps_are_those_of_the_network_up_to_rounding(make_data, monkeypatch):
    # All but the C++ compiler, which takes half a minute for this network.
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="aot_eager"))
    plain, data = make_data()
    other, _ = make_data()
    loss = take_steps(plain, data)
    optimiser = make_optimiser(other, SgdConfig("sgd", learning_rate=0.1, momentum=0.5))
    call = compiled(other, torch.device("cpu"))
    assert train_epoch(other, optimiser, data, BATCHES, wrapped=call, seed=0, epoch=0) == pytest.approx(loss, rel=1e-4)
    assert list(other.state_dict()) == list(plain.state_dict())
    for mine, same in zip(plain.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(mine, same, atol=1e-4, rtol=1e-3)


@pytest.mark.process
@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no C++ compiler")
def test_a_machine_with_a_compiler_compiles():
    layer = torch.nn.Linear(2, 2)
    call = compiled(layer, torch.device("cpu"))
    assert isinstance(call, torch.nn.Module)
    torch.testing.assert_close(call(torch.ones(3, 2)), layer(torch.ones(3, 2)))


def test_a_machine_that_cannot_compile_is_reported(make_data, monkeypatch):
    def fail(*_):
        raise RuntimeError("No working C++ compiler found\nand more")

    monkeypatch.setattr(torch, "compile", fail)
    with pytest.raises(BssError, match=r"train\.compile: .* \(No working C\+\+ compiler found\)"):
        compiled(make_data()[0], torch.device("cpu"))


def test_ranks_act_on_what_any_of_them_asked_after_the_step_before():
    class Two(Ranks):
        def add(self, tensor):
            tensor += torch.tensor(self.other)

    ranks = Two(0, 2)
    vote = Vote(ranks, torch.device("cpu"))
    object.__setattr__(ranks, "other", [0.0, 0.0])
    assert vote(False, False, now=False) == (False, False)
    object.__setattr__(ranks, "other", [1.0, 0.0])
    assert vote(False, True, now=False) == (False, False)
    object.__setattr__(ranks, "other", [0.0, 0.0])
    assert vote(False, False, now=False) == (True, True)
    assert vote(True, False, now=True) == (True, False)
    vote.forget()
    assert vote(False, False, now=False) == (False, False)
    alone = Vote(Ranks(), torch.device("cpu"))
    assert alone(True, False, now=False) == (True, False)
