"""The pooling of the cnn encoder against torch's, bit for bit."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from bss.models.average_pool import AveragePool

SIDES = st.integers(1, 40)


def passed_through(pool, maps, gradient):
    """Return the pooled maps, and their gradient before anything changes where it lies in memory."""
    leaf = maps.clone().requires_grad_()
    found = []
    inner = leaf * 1
    inner.register_hook(found.append)
    pooled = pool(inner)
    pooled.backward(gradient)
    return pooled.detach(), found[0]


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(
    size=st.tuples(SIDES, SIDES),
    at_most=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
    layout=st.sampled_from([torch.contiguous_format, torch.channels_last]),
)
def test_values_and_gradients_have_the_bits_of_torchs_own(size, at_most, dtype, layout):
    pooled = tuple(min(n, m) for n, m in zip(at_most, size, strict=True))
    random = torch.Generator().manual_seed(0)
    maps = torch.randn(2, 3, *size, generator=random).to(dtype).to(memory_format=layout)
    gradient = torch.randn(2, 3, *pooled, generator=random).to(dtype)
    mine, my_gradient = passed_through(AveragePool(size, pooled), maps, gradient)
    theirs, their_gradient = passed_through(nn.AdaptiveAvgPool2d(pooled), maps, gradient)
    assert torch.equal(mine, theirs)
    assert torch.equal(my_gradient, their_gradient)
    assert mine.stride() == theirs.stride()
    if min(size) > 1:  # else channels first and channels last look alike
        assert my_gradient.stride() == their_gradient.stride()


def test_five_pixels_to_two_cells_share_the_middle_one():
    pool = AveragePool((1, 5), (1, 2))
    maps = torch.tensor([1.0, 2.0, 3.0, 5.0, 10.0]).reshape(1, 1, 1, 5)
    pooled, gradient = passed_through(pool, maps, torch.tensor([3.0, 6.0]).reshape(1, 1, 1, 2))
    assert pooled.tolist() == [[[[2.0, 6.0]]]]
    assert gradient.tolist() == [[[[1.0, 1.0, 3.0, 2.0, 2.0]]]]


@pytest.mark.filterwarnings("error::UserWarning")  # that an operation has no rule for batches
def test_per_sample_gradients_are_those_of_each_sample():
    pool = AveragePool((8, 10), (4, 4))
    weights = torch.randn(3, 4, 4, generator=torch.Generator().manual_seed(0))
    maps = torch.randn(5, 3, 8, 10, generator=torch.Generator().manual_seed(1))

    def loss(one):
        return (pool(one[None])[0] * weights).sum()

    together = torch.func.vmap(torch.func.grad(loss))(maps)
    assert torch.equal(together, torch.stack([torch.func.grad(loss)(one) for one in maps]))


def test_maps_that_are_smaller_than_the_result_are_refused():
    with pytest.raises(ValueError, match=r"maps of \(3, 8\) cannot be pooled to \(4, 4\)"):
        AveragePool((3, 8), (4, 4))
