import math

import numpy as np
import pytest
import torch
from torch import nn

from bss.balance.criteria import (
    confidence,
    feature_similarity,
    gradient_magnitude,
    logit_similarity,
    prediction_similarity,
    training_loss,
)


def test_prediction_similarity_by_hand():
    # softmax(log p) = p: cos((.5, .5), (.9, .1)) = .5 / (sqrt(.5) * sqrt(.82))
    u, v = torch.log(torch.tensor([[0.5, 0.5]])), torch.log(torch.tensor([[0.9, 0.1]]))
    expected = 0.5 / (math.sqrt(0.5) * math.sqrt(0.82))
    assert prediction_similarity({"u": u, "v": v}).item() == pytest.approx(expected, abs=1e-6)


def test_three_modalities_are_the_mean_over_pairs():
    one_hot = 50 * torch.eye(3)
    agree, differ = one_hot[:1], one_hot[1:2]
    similarity = prediction_similarity({"a": agree, "b": agree, "c": differ})
    assert similarity.item() == pytest.approx(1 / 3, abs=1e-6)  # pairs: 1, 0, 0


def test_similarities_against_numpy():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(5, 4)), rng.normal(size=(5, 4))
    expected = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    pair = {"a": torch.from_numpy(a), "b": torch.from_numpy(b)}
    np.testing.assert_allclose(logit_similarity(pair).numpy(), expected, atol=1e-6)
    np.testing.assert_allclose(feature_similarity(pair).numpy(), expected, atol=1e-6)


def test_nearly_uniform_softmaxes_look_alike_and_confidence_tells():
    u, v = 0.01 * torch.tensor([[1.0, -1.0, 0.0]]), 0.01 * torch.tensor([[-1.0, 1.0, 0.0]])
    assert prediction_similarity({"u": u, "v": v}).item() > 0.999
    assert confidence({"u": u, "v": v}).item() == pytest.approx(1 / 3, abs=0.01)


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        ({"a": torch.zeros(2, 3)}, "two or more modalities"),
        ({"a": torch.zeros(2, 3), "b": torch.zeros(2, 4)}, "one shape"),
    ],
)
def test_similarity_refuses(vectors, message):
    with pytest.raises(ValueError, match=message):
        feature_similarity(vectors)


def test_training_loss_by_hand():
    # uniform logits over 4 classes: every cross-entropy is log 4
    z = torch.zeros(2, 4)
    loss = training_loss(z, {"a": z, "b": z}, torch.tensor([0, 3]), fused_weight=0.1, unimodal_weight=0.9)
    np.testing.assert_allclose(loss.numpy(), [1.9 * math.log(4)] * 2, rtol=1e-6)


class Toy(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 2)
        self.norm = nn.BatchNorm1d(2)

    def forward(self, inputs):
        return self.norm(self.linear(inputs["x"]))


def test_gradient_magnitude_equals_one_backward_per_sample():
    torch.manual_seed(0)
    network = Toy().eval()
    inputs, labels = {"x": torch.randn(6, 3)}, torch.randint(0, 2, (6,))

    def sample_loss(call, x, y):
        return nn.functional.cross_entropy(call(x), y)

    expected = []
    for i in range(6):
        network.zero_grad()
        nn.functional.cross_entropy(network({"x": inputs["x"][i : i + 1]}), labels[i : i + 1]).backward()
        expected.append(math.sqrt(sum(float(p.grad.square().sum()) for p in network.parameters())))
    np.testing.assert_allclose(gradient_magnitude(network, sample_loss, inputs, labels).numpy(), expected, rtol=1e-5)
    network.train()
    with pytest.raises(ValueError, match="eval mode"):
        gradient_magnitude(network, sample_loss, inputs, labels)
