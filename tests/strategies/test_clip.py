"""Gradient clipping: by the norm over all parameters, of the gradient of the whole batch, over ranks and turns."""

import numpy as np
import pytest
import torch
from toy import Toy, make_network, start, train, train_on_ranks

from bss.config.training import SgdConfig
from bss.strategies.mla import Mla
from bss.strategies.weights import Weighted
from bss.training.network_parts import parameter_groups
from bss.training.steps import make_optimiser, train_epoch

NAMES = ("audio", "video")
BATCH = np.arange(20)


def step(network, clip, accumulate=1, run=None):
    """Take one step at a learning rate of 1; return how it moved each parameter."""
    before = [p.detach().clone() for p in network.parameters()]
    optimiser = make_optimiser(network, SgdConfig("sgd", 1.0, 0.0), None if run is None else parameter_groups(network))
    settings = {"seed": 0, "epoch": 0, "accumulate": accumulate, "strategy": run, "clip": clip}
    train_epoch(network, optimiser, Toy(NAMES), [BATCH], **settings)
    return [b - p.detach() for b, p in zip(before, network.parameters(), strict=True)]


def gradient():
    """The gradient of the mean loss of the batch, by autograd alone."""
    network = make_network(NAMES)
    ((inputs, labels),) = Toy(NAMES).batches([BATCH])
    return torch.autograd.grad(network.loss(network(inputs), labels).mean(), list(network.parameters()))


def norm(tensors):
    return float(torch.cat([x.flatten() for x in tensors]).double().norm())


@pytest.mark.parametrize("accumulate", [1, 3])
def test_a_longer_gradient_keeps_its_direction_and_gets_the_greatest_norm(accumulate):
    right = gradient()
    for share in (0.25, 2.0):  # of the gradient's norm
        moved = step(make_network(NAMES), share * norm(right), accumulate)
        for x, g in zip(moved, right, strict=True):
            torch.testing.assert_close(x, min(share, 1.0) * g, atol=1e-6, rtol=1e-4)


def test_a_gradient_within_the_norm_is_taken_to_the_bit():
    for x, same in zip(step(make_network(NAMES), None), step(make_network(NAMES), 1e6), strict=True):
        assert torch.equal(x, same)


def test_each_of_the_updates_of_a_batch_is_clipped():
    network = make_network(NAMES)
    run = start(Mla(), network)
    splits = lambda split: None  # noqa: E731
    run.begin_epoch(0, splits)
    run.arrange(BATCH, splits)
    moved = dict(zip((n for n, _ in network.named_parameters()), step(network, 1e-3, run=run), strict=True))
    for name in NAMES:  # each encoder learns in its own turn, with what the turns share
        assert 0 < norm([x for key, x in moved.items() if f"encoders.{name}" in key]) <= 1e-3 * (1 + 1e-4)
    assert norm(moved.values()) > 1e-3


def test_two_ranks_clip_as_one():
    alone, strategy = make_network(NAMES), Weighted(unimodal=4.0)
    train(strategy, alone, Toy(NAMES), clip=0.1)
    (first, _), (second, _) = train_on_ranks(strategy, NAMES, 2, clip=0.1)
    for p, one, two in zip(alone.parameters(), first.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, two)
        torch.testing.assert_close(p, one, atol=1e-6, rtol=1e-5)
