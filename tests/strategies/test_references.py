"""One method of each kind (gradients, features, turns) against a training written by hand with torch's functions."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from toy import SGD, Toy, make_network, network_for, train

from bss.balance.draw import generator
from bss.strategies.mla import Mla
from bss.strategies.modality_dropout import ModalityDropout
from bss.strategies.ogm import Ogm

TWO = ("audio", "video")
SAMPLES, BATCH, EPOCHS = 20, 10, 5  # ten steps


class Reference:
    """Weights by name, and stochastic gradient descent with momentum and weight decay on them."""

    def __init__(self, network):
        self.weights = {name: p.detach().clone().requires_grad_() for name, p in network.named_parameters()}
        self.momenta = {}

    def features(self, name, x):
        w = self.weights
        for layer in (2, 4):
            prefix = f"encoders.{name}.layers.{layer}"
            x = F.relu(F.linear(x, w[f"{prefix}.weight"], w[f"{prefix}.bias"]))
        return x

    def head(self, name, x):
        return F.linear(x, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"])

    def fused(self, features):
        return self.head("fusion.head", torch.cat([features[name] for name in TWO], dim=1))

    def gradients(self, loss):
        found = torch.autograd.grad(loss, list(self.weights.values()), allow_unused=True)
        return {name: g for name, g in zip(self.weights, found, strict=True) if g is not None}

    def update(self, gradients):
        """Move what has a gradient, and nothing else."""
        with torch.no_grad():
            for name, gradient in gradients.items():
                whole = gradient + SGD.weight_decay * self.weights[name]
                self.momenta[name] = SGD.momentum * self.momenta[name] + whole if name in self.momenta else whole
                self.weights[name] -= SGD.learning_rate * self.momenta[name]


def batches(data):
    """Yield epoch, step in it, inputs and labels, as the trial of toy.py orders them."""
    for epoch in range(EPOCHS):
        order = torch.from_numpy(np.random.default_rng(epoch).permutation(SAMPLES))
        for step, index in enumerate(order.split(BATCH)):
            yield epoch, step, {name: x[index] for name, x in data.inputs.items()}, data.labels[index]


def compare(strategy, network, data, reference):
    train(strategy, network, data, batch_size=BATCH, epochs=EPOCHS)
    for name, p in network.named_parameters():
        torch.testing.assert_close(p.detach(), reference.weights[name].detach(), atol=1e-6, rtol=0)


def test_gradients_ogm():
    data, network = Toy(TWO, SAMPLES), make_network(TWO)
    reference = Reference(network)
    factors = []
    for epoch, _, inputs, labels in batches(data):
        features = {name: reference.features(name, inputs[name]) for name in TWO}
        gradients = reference.gradients(F.cross_entropy(reference.fused(features), labels))
        if epoch < 0.5 * EPOCHS:
            weight, bias = reference.weights["fusion.head.weight"], reference.weights["fusion.head.bias"]
            halves = dict(zip(TWO, weight.split(4, dim=1), strict=True))
            sure = {}
            for name in TWO:
                logits = features[name] @ halves[name].T + bias / 2
                sure[name] = float(logits.detach().softmax(dim=1)[torch.arange(BATCH), labels].sum())
            for name, other in (TWO, TWO[::-1]):
                ratio = sure[name] / sure[other]
                factor = 1 - np.tanh(0.8 * ratio) if ratio > 1 else 1.0
                factors.append(factor)
                for key in gradients:
                    if key.startswith(f"encoders.{name}."):
                        gradients[key] = factor * gradients[key]
        reference.update(gradients)
    assert min(factors) < 0.4
    compare(Ogm(alpha=0.8, noise=False, loss="published"), network, data, reference)


def test_features_modality_dropout():
    data, network = Toy(TWO, SAMPLES), make_network(TWO)
    reference = Reference(network)
    lost = 0
    for epoch, step, inputs, labels in batches(data):
        features = {name: reference.features(name, inputs[name]) for name in TWO}
        seed = int(generator(0, f"strategy modality dropout {step} 1", epoch).integers(2**63))
        drawn = torch.rand(BATCH, generator=torch.Generator().manual_seed(seed))
        masks = {"audio": drawn >= 0.25, "video": (drawn < 0.25) | (drawn >= 0.5)}  # a quarter each, of rate a half
        lost += sum(int((~mask).sum()) for mask in masks.values())
        masked = {name: x * masks[name][:, None] for name, x in features.items()}
        loss = F.cross_entropy(reference.fused(masked), labels)
        loss = loss + sum(F.cross_entropy(reference.head(f"heads.{name}", features[name]), labels) for name in TWO)
        reference.update(reference.gradients(loss))
    assert lost > 20
    compare(ModalityDropout(rate=0.5), network, data, reference)


@pytest.mark.parametrize("projection", ["none", "paper"])
def test_turns_mla(projection):
    data, strategy = Toy(TWO, SAMPLES), Mla(projection=projection)
    network = network_for(strategy, TWO)
    reference = Reference(network)
    shared = "heads.audio.last"  # one layer, which has its first name
    project, before = torch.eye(4), None
    for _, step, inputs, labels in batches(data):
        for name in TWO:
            features = reference.features(name, inputs[name])
            gradients = reference.gradients(F.cross_entropy(reference.head(shared, features), labels))
            assert set(gradients) == {
                *(f"encoders.{name}.layers.{layer}.{kind}" for layer in (2, 4) for kind in ("weight", "bias")),
                *(f"{shared}.{kind}" for kind in ("weight", "bias")),
            }
            if projection == "paper":
                if before is not None:
                    k = project @ before
                    project = project - torch.outer(k, k) / (0.1 ** (1 + step / (SAMPLES / BATCH)) + before @ k)
                gradients[f"{shared}.weight"] = gradients[f"{shared}.weight"] @ project.T
                before = features.detach().mean(dim=0)
            reference.update(gradients)
    compare(strategy, network, data, reference)
