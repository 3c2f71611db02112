"""Smoothed labels and weighted classes act in the training loss and not in what scores observe."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from toy import CLASSES, Toy, make_network, train

from bss.config import config_from_tree
from bss.config.strategies import find_strategies
from bss.config.training import SgdConfig, TrainConfig
from bss.errors import BssError
from bss.strategies.weights import Weighted
from bss.training.targets import Targets, balanced_weights, targets_for

NAMES = ("audio", "video")
WEIGHTS = (2.0, 0.5, 1.0)
TARGETS = Targets(0.2, torch.tensor(WEIGHTS))
FOLLOW = {
    *(
        "none",
        "longer",
        "weights",
        "mixup",
        "modality-dropout",
        "ogm",
        "mlb",
        "agm",
        "g-blending",
        "mslr",
        "mses",
        "smp",
    ),
    *("mbsd", "amss", "mla", "inforeg", "relearning", "umt", "g2d", "mmpareto", "opm", "mcr"),
}


def right_loss(network, inputs, labels):
    """The loss by its definition, in float64."""
    outputs, total = network(inputs), 0.0
    for z in (outputs.fused, *outputs.logits.values()):
        logs, weights = z.double().log_softmax(dim=1), torch.tensor(WEIGHTS).double()
        aimed = 0.8 * torch.eye(CLASSES)[labels].double() + 0.2 / CLASSES
        total = total - (aimed * weights * logs).sum(dim=1)
    return total


def test_the_loss_is_that_of_smoothed_and_weighted_targets():
    network = make_network(NAMES)
    ((inputs, labels),) = Toy(NAMES).batches([np.arange(12)])
    found = network.loss(network(inputs), labels, TARGETS.label_smoothing, TARGETS.class_weights)
    torch.testing.assert_close(found.double(), right_loss(network, inputs, labels), atol=1e-5, rtol=1e-5)


def test_training_follows_the_targets_and_scores_observe_the_labels():
    data, plain, other = Toy(NAMES), make_network(NAMES), make_network(NAMES)
    ((inputs, labels),) = data.batches([np.random.default_rng(0).permutation(len(data))])
    right = torch.autograd.grad(right_loss(plain, inputs, labels).mean(), list(plain.parameters()))
    moved = [p.detach().clone() for p in plain.parameters()]
    clean = plain.loss(plain(inputs), labels)
    seen = {}
    for key, strategy, network in (("plain", None, plain), ("weights", Weighted(), other)):
        settings = {"batch_size": len(data), "epochs": 1, "optimiser": SgdConfig("sgd", 1.0, 0.0), "targets": TARGETS}
        train(strategy, network, data, observe=lambda i, o, loss, key=key: seen.update({key: loss.clone()}), **settings)
        torch.testing.assert_close(seen[key], clean, atol=1e-6, rtol=1e-6)
    for before, one, two, gradient in zip(moved, plain.parameters(), other.parameters(), right, strict=True):
        assert torch.equal(one, two)
        torch.testing.assert_close(before - one, gradient.float(), atol=1e-5, rtol=1e-4)


def test_balanced_weights_are_those_of_scikit_learn_and_a_class_without_samples_has_1():
    labels = np.array([0, 0, 0, 1, 3, 3])
    assert balanced_weights(labels, 4).tolist() == pytest.approx([6 / 9, 6 / 3, 1, 6 / 6])
    store = SimpleNamespace(
        labels=labels, rows=lambda split: np.arange(4), classes=("cat", "dog", "emu", "owl"), path="s"
    )
    balanced = targets_for(TrainConfig(SgdConfig("sgd"), class_weights="balanced"), store)
    assert balanced.class_weights.tolist() == pytest.approx([4 / 6, 4 / 2, 1, 1])
    given = targets_for(TrainConfig(SgdConfig("sgd"), class_weights={"owl": 3}), store)
    assert given.class_weights.tolist() == [1, 1, 1, 3]
    with pytest.raises(BssError, match=r"train\.class_weights: owls is not a class of s; its classes: cat, dog"):
        targets_for(TrainConfig(SgdConfig("sgd"), class_weights={"owls": 3}), store)


def test_the_strategies_that_follow_are_these():
    assert {entry.kind for entry in find_strategies() if entry().takes_targets()} == FOLLOW


@pytest.mark.parametrize(
    ("strategy", "train", "message"),
    [
        (
            {"kind": "lfm"},
            {"label_smoothing": 0.1},
            r"`train\.label_smoothing` must be left out with strategies\.x: `lfm`",
        ),
        ({"kind": "dgl"}, {"class_weights": "balanced"}, r"`train\.class_weights` must be left out with strategies\.x"),
        (
            {"kind": "weights", "label_smoothing": 0.1},
            {"label_smoothing": 0.2},
            r"strategies\.x: `label_smoothing` must be 0 with train\.label_smoothing 0\.2",
        ),
        ({"kind": "none"}, {"class_weights": {"cat": 0}}, r"`class_weights\.cat` must be a number above 0, but got: 0"),
    ],
)
def test_what_cannot_follow_is_refused(strategy, train, message, tree):
    tree["strategies"] = {"x": strategy}
    tree["train"] |= train
    with pytest.raises(BssError, match=message):
        config_from_tree(tree, "params.yaml")
