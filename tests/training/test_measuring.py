import numpy as np
import pytest
import torch
import torch.nn.functional as F

from bss.data.store import Store
from bss.models.network import build_network, describe_network
from bss.training.measuring import measure, measure_in_train_mode
from bss.training.sequences import split_into_batches
from bss.training.split_data import SplitData

ALL = ("prediction_similarity", "logit_similarity", "feature_similarity", "training_loss", "gradient_magnitude")


@pytest.fixture
def measured(small_store, tree, make_config):
    store = Store.open(small_store)
    network = build_network(describe_network(make_config(tree).network, store), seed=1)
    return network, SplitData(store, "train", network, torch.device("cpu"))


def test_every_criterion_against_a_direct_computation(measured):
    network, data = measured
    columns = measure(network, data, ALL)
    inputs, labels = next(data.batches([np.arange(len(data))]))
    network.eval()
    out = network(inputs)
    p = {name: z.softmax(1) for name, z in out.logits.items()}
    pairs = [("audio", "image"), ("audio", "vector"), ("image", "vector")]
    similarity = sum(F.cosine_similarity(p[a], p[b]) for a, b in pairs) / 3
    np.testing.assert_allclose(columns["prediction_similarity"], similarity.detach().numpy(), atol=1e-5)
    losses = {name: F.cross_entropy(z, labels, reduction="none") for name, z in out.logits.items()}
    total = F.cross_entropy(out.fused, labels, reduction="none") + sum(losses.values())
    np.testing.assert_allclose(columns["training_loss"], total.detach().numpy(), atol=1e-5)
    for name, loss in losses.items():
        np.testing.assert_allclose(columns[f"loss_{name}"], loss.detach().numpy(), atol=1e-5)
        np.testing.assert_allclose(columns[f"p_true_{name}"], np.exp(-loss.detach().numpy()), atol=1e-5)
        np.testing.assert_array_equal(columns[f"predicted_{name}"], out.logits[name].argmax(1).numpy())
    network.zero_grad()
    total[3].backward()
    norm = sum(float(w.grad.square().sum()) for w in network.parameters()) ** 0.5
    assert columns["gradient_magnitude"][3] == pytest.approx(norm, rel=1e-4)


def test_measuring_leaves_the_network_as_it_was_but_train_mode_moves_batch_norm(measured):
    network, data = measured
    before = {name: x.clone() for name, x in network.state_dict().items()}
    measure(network, data, ALL)
    assert all(torch.equal(before[name], x) for name, x in network.state_dict().items())
    order = np.random.default_rng(0).permutation(len(data))
    measure_in_train_mode(network, data, ("training_loss",), split_into_batches(order, 16), seed=0, epoch=0)
    moved = {name for name, x in network.state_dict().items() if not torch.equal(before[name], x)}
    assert moved
    assert all("running" in name or "num_batches" in name for name in moved)
    assert not network.training
