import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bss.config.schema import AdamConfig, SgdConfig, StepDecay
from bss.training.sequences import count_steps, split_into_batches
from bss.training.steps import learning_rate, make_optimiser


@given(st.integers(1, 300), st.integers(2, 40))
def test_batches_keep_the_order_and_drop_nothing_and_none_is_a_single_sample(n, batch_size):
    sequence = np.random.default_rng(0).permutation(n)
    batches = split_into_batches(sequence, batch_size)
    np.testing.assert_array_equal(np.concatenate(batches), sequence)
    assert all(len(batch) in (batch_size, batch_size + 1) for batch in batches[:-1])
    assert len(batches[-1]) > 1 or n == 1
    assert count_steps(n, batch_size) == len(batches)


def test_the_learning_rate_falls_at_the_start_of_the_named_epochs():
    decay = StepDecay(at=(2, 4), factor=0.1)
    rates = [learning_rate(SgdConfig("sgd", learning_rate=1.0), decay, epoch) for epoch in range(6)]
    assert rates == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])


def test_the_optimiser_is_the_one_that_is_asked_for():
    network = torch.nn.Linear(2, 2)
    sgd = make_optimiser(network, SgdConfig("sgd", 0.1, 0.5, 0.01))
    assert isinstance(sgd, torch.optim.SGD)
    assert (sgd.defaults["lr"], sgd.defaults["momentum"], sgd.defaults["weight_decay"]) == (0.1, 0.5, 0.01)
    adam = make_optimiser(network, AdamConfig("adam", 0.2))
    assert isinstance(adam, torch.optim.Adam)
    assert adam.defaults["lr"] == 0.2
