"""Forms of the papers' public code, against values computed by hand or by another way."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from toy import CLASSES, TWO, WIDTH, Toy, start

from bss.config.encoders import MlpConfig
from bss.config.fusion import Concatenation, Gated
from bss.config.schema import NetworkConfig
from bss.data.store import Modality
from bss.models.network import MultiModalNetwork
from bss.strategies.agm import Agm

THREE = ("audio", "video", "text")


def network_with_statistics(names, fusion):
    """Return a network with batch normalisation and dropout in its encoders."""
    encoders = {name: MlpConfig("mlp", hidden=(6,), features=4, dropout=0.3) for name in names}
    modalities = {name: Modality("features", (WIDTH,), "float32") for name in names}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return MultiModalNetwork(NetworkConfig(encoders, fusion), modalities, CLASSES)


def shares_by_passes(network, inputs):
    """Return the Shapley shares of two or three modalities as public code has them: whole passes, in eval mode."""
    names = list(inputs)
    whole = network.train()(inputs).fused
    network.eval()

    def of(*present):
        return network({n: x if n in present else torch.zeros_like(x) for n, x in inputs.items()}).fused

    if len(names) == 2:
        a, v = names
        return [0.5 * (whole - of(v) + of(a)), 0.5 * (whole - of(a) + of(v))]
    shares = []
    for name in names:
        one, other = (n for n in names if n != name)
        rest = of(name, one) - of(one) + of(name, other) - of(other)
        shares.append((whole - of(one, other)) / 3 + rest / 6 + of(name) / 3)
    return shares


@pytest.mark.parametrize("names", [TWO, THREE], ids=["two", "three"])
@pytest.mark.parametrize("fusion", [Concatenation(), Gated()], ids=["concatenation", "gated"])
def test_agm_with_zeroed_inputs_has_the_gradients_of_public_code(names, fusion):
    """They are those of the shares' sum, with hooks that scale what reaches each share."""
    (inputs, labels), means = next(Toy(names).batches([range(9)])), torch.tensor([0.2, 0.9, 0.1][: len(names)])
    network, other = (network_with_statistics(names, fusion) for _ in range(2))
    run = start(Agm(zero="inputs", alpha=2.0, window=(0.0, 1.0), loss="published"), network)
    run.context.state |= {"means": means, "steps": torch.tensor(3.0)}
    run.positions = np.arange(9)
    torch.manual_seed(0)
    run.backward(inputs, network.train()(inputs), labels, 1, 9, 9, None)
    run.finish_step()

    torch.manual_seed(0)
    shares = shares_by_passes(other, inputs)
    entropies = torch.stack([F.cross_entropy(z, labels) for z in shares]).detach()
    new = means + (entropies - means) / 4
    for number, share in enumerate(shares):
        rest = [i for i in range(len(names)) if i != number]
        usual, now = (torch.exp(x[rest].mean() - x[number]) for x in (new, entropies))
        factor = torch.exp(2.0 * (usual - now).clamp(max=10))
        assert abs(factor - 1) > 0.1
        share.register_hook(lambda gradient, factor=factor: factor * gradient)
    F.cross_entropy(torch.stack(shares).sum(dim=0), labels).backward()

    for (name, mine), right in zip(network.named_parameters(), other.parameters(), strict=True):
        if name.startswith("heads."):
            assert mine.grad is None
        else:
            torch.testing.assert_close(mine.grad, right.grad, atol=1e-6, rtol=1e-4)
    for (name, mine), right in zip(network.named_buffers(), other.buffers(), strict=True):
        torch.testing.assert_close(mine, right, msg=name)
    torch.testing.assert_close(run.context.state["means"], new)
    assert not run.context.state["sums"].any()
