"""Averaged weights (EMA): against torch's own average, with shared layers, and in a whole training."""

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils._python_dispatch import TorchDispatchMode

from bss.config.heads import HeadsConfig
from bss.models.heads import build_heads
from bss.training.averaged import Averaged


class Small(nn.Module):
    """A layer, batch normalisation, and heads whose last layer is one and the same."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
        self.heads = build_heads(HeadsConfig(hidden=4, shared=True, branches=2), {"a": 4, "b": 4}, 3)

    def forward(self, x):
        return sum(head(self.body(x)) for head in self.heads.values())


def take_step(network, random):
    loss = network(torch.randn(6, 3, generator=random)).square().mean()
    network.zero_grad()
    loss.backward()
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.grad is not None:
                parameter.sub_(0.1 * parameter.grad)


@pytest.fixture
def network():
    torch.manual_seed(0)
    return Small()


def test_it_is_torchs_average_with_buffers(network):
    averaged, random = Averaged(network, 0.8), torch.Generator().manual_seed(1)
    right = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(0.8), use_buffers=True)
    for _ in range(5):
        take_step(network, random)
        averaged.update()
        right.update_parameters(network)
    found, wanted, last = averaged.network.state_dict(), right.module.state_dict(), network.state_dict()
    for name, value in found.items():
        if value.is_floating_point():
            assert torch.equal(value, wanted[name]), name
    assert not torch.equal(found["body.1.running_mean"], last["body.1.running_mean"])
    assert not torch.equal(found["heads.a.last.weight"], last["heads.a.last.weight"])
    assert found["body.1.num_batches_tracked"] == last["body.1.num_batches_tracked"]


def test_a_layer_that_heads_share_is_averaged_once_and_branches_come_into_use(network):
    averaged = Averaged(network, 0.75)
    last = network.heads["a"].last.weight
    with torch.no_grad():
        for value in (1.0, 5.0):
            last.fill_(value)
            averaged.update()
    network.heads["b"].grow()
    averaged.update()
    assert averaged.network.heads["a"].last.weight.unique().tolist() == [0.75 * 2 + 0.25 * 5]
    assert [head.used for head in averaged.network.heads.values()] == [1, 2]


def test_what_is_saved_resumes_to_the_same_bits_and_an_update_waits_for_nothing(network):
    class Waits(TorchDispatchMode):
        count = 0

        def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
            self.count += function is torch.ops.aten._local_scalar_dense.default
            return function(*arguments, **(keywords or {}))

    one, random = Averaged(network, 0.9), torch.Generator().manual_seed(1)
    take_step(network, random)
    one.update()
    other = Averaged(network, 0.9)
    other.load_state_dict(one.state_dict())
    take_step(network, random)
    for averaged in (one, other):
        with Waits() as waits:
            averaged.update()
        assert waits.count == 0
    for name, value in one.network.state_dict().items():
        assert torch.equal(value, other.network.state_dict()[name]), name
