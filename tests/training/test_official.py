"""The official presets against a second writing of the authors' scripts in plain PyTorch, from their description.

The initial weights and the drawn permutations are ours, as the scripts draw other random numbers. Everything else is
computed here from scratch: scores, which samples an epoch shows, what a batch holds, every loss, the law of an order.
"""

import copy
import itertools
import math
from collections import Counter

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import CLASSES, small_tree
from torch import nn

from bss.artifacts.history import read_history
from bss.artifacts.scores import read_scores, scores_path
from bss.config import config_from_tree
from bss.data.store import Store
from bss.data.tables import open_table, read_table
from bss.stages.measure import measure
from bss.stages.prepare import prepare
from bss.stages.schedule import schedule
from bss.stages.train import train
from bss.training.initial_network import initial_network

SAMPLES, BATCH, WIDTH, HIDDEN = 48, 5, 6, 10
RATE, MOMENTUM, DECAY = 0.05, 0.9, 1e-4
VARIANTS = {
    "crema-d": ({}, {}),
    "twitter2015": ({"initial_mode": "eval"}, {"order": "imbalanced-first", "mode": "eval"}),
    "nvgesture": ({"score": {"criteria": ["logit_similarity", "training_loss"]}}, {"probability": "one-plus"}),
}
"""Changes of the section measure and of official-l, as the presets of the datasets make them."""


class Plain(nn.Module):
    """Two encoders, a head on each, and one on their features side by side."""

    def __init__(self, widths):
        super().__init__()
        self.encoders = nn.ModuleDict(
            {
                name: nn.Sequential(
                    *(nn.BatchNorm1d(width), nn.Linear(width, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, WIDTH), nn.ReLU())
                )
                for name, width in widths.items()
            }
        )
        self.heads = nn.ModuleDict({name: nn.Linear(WIDTH, len(CLASSES)) for name in widths})
        self.fused = nn.Linear(WIDTH * len(widths), len(CLASSES))

    def forward(self, inputs):
        features = [encoder(inputs[name]) for name, encoder in self.encoders.items()]
        logits = [head(x) for head, x in zip(self.heads.values(), features, strict=True)]
        return logits, self.fused(torch.cat(features, dim=1))


def loss_of(logits, fused, labels):
    return sum(F.cross_entropy(z, labels, reduction="none") for z in (fused, *logits))


def script_scores(model, inputs, labels, mode, of_logits):
    """The scripts' measuring: in dataset order, in batches of the trial's size; then min-max over all samples."""
    model.train(mode == "train")
    similarities, losses = [], []
    with torch.no_grad():
        for first in range(0, SAMPLES, BATCH):
            part = slice(first, first + BATCH)
            logits, fused = model({name: x[part] for name, x in inputs.items()})
            u, v = (F.normalize(z) if of_logits else F.softmax(z, dim=1) for z in logits)
            similarities.append(F.cosine_similarity(u, v))
            losses.append(loss_of(logits, fused, labels[part]))
    similarity, loss = (torch.cat(parts).double() for parts in (similarities, losses))
    both = [(x - x.min()) / (x.max() - x.min()) for x in (similarity, loss)]
    return (both[0] - both[1]).numpy()


def script_epoch(model, optimiser, inputs, labels, order):
    """The scripts' epoch, without its last batch where that is not full; the mean loss, and how many steps."""
    model.train()
    batches = [torch.from_numpy(order[i : i + BATCH]) for i in range(0, len(order) - BATCH + 1, BATCH)]
    losses = []
    for index in batches:
        loss = loss_of(*model({name: x[index] for name, x in inputs.items()}), labels[index]).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return np.mean(losses), len(batches)


@pytest.fixture(scope="module", params=VARIANTS)
def trained(request, small_root, tmp_path_factory):
    """Our two trials of two epochs; the variant, the configuration, and the folder with what they left."""
    folder = tmp_path_factory.mktemp("official")
    measuring, learned = VARIANTS[request.param]
    tree = small_tree(small_root)
    modalities = {name: tree["prepare"]["modalities"][name] for name in ("vector", "image")}
    mlp = {"kind": "mlp", "hidden": [HIDDEN], "features": WIDTH}
    tree |= {
        "seeds": [0],
        "prepare": tree["prepare"] | {"modalities": modalities},
        "network": {"encoders": dict.fromkeys(modalities, mlp), "head_initialisation": "xavier"},
        "measure": {"warmup_epochs": 0, "order": "dataset", **measuring},
        "compare": {"baseline": "official-h"},
    }
    tree["schedule"]["schedulers"] = {
        "official-h": {"preset": "official-heuristic"},
        "official-l": {"preset": "official-learned", **learned},
    }
    optimiser = {"kind": "sgd", "learning_rate": RATE, "momentum": MOMENTUM, "weight_decay": DECAY}
    tree["train"] = {"epochs": 2, "batch_size": BATCH, "optimiser": optimiser, "drop_last": True}
    config = config_from_tree(tree, "params.yaml")
    prepare(config, small_root, folder / "store")
    measure(config, folder / "store", folder / "scores")
    schedule(config, folder / "store", folder / "scores", folder / "plans")
    train(config, folder / "store", folder / "scores", folder / "plans", folder / "runs")
    return request.param, config, folder


@pytest.fixture
def script(trained):
    """A plain model with our initial weights, its optimiser, and the training data in dataset order."""
    _, config, folder = trained
    store = Store.open(folder / "store")
    rows = store.rows("train")
    assert len(rows) == SAMPLES
    vector = torch.from_numpy(np.array(store.read("vector", rows)))
    image = torch.from_numpy(np.array(store.read("image", rows))).flatten(1) / 255
    inputs = {"vector": vector, "image": image}
    model = Plain({name: x.shape[1] for name, x in inputs.items()})
    ours = initial_network(config, store, 0, torch.device("cpu"))
    with torch.no_grad():
        for name, encoder in model.encoders.items():
            own = [layer for layer in ours.encoders[name].layers if list(layer.parameters())]
            for mine, other in zip([encoder[0], encoder[1], encoder[3]], own, strict=True):
                mine.load_state_dict(other.state_dict())
            model.heads[name].load_state_dict(ours.heads[name].state_dict())
        model.fused.load_state_dict(ours.fusion.head.state_dict())
    optimiser = torch.optim.SGD(model.parameters(), lr=RATE, momentum=MOMENTUM, weight_decay=DECAY)
    return model, optimiser, inputs, torch.from_numpy(store.labels[rows])


def our_run(folder, name):
    """History and sequences, as positions in the training split, of one of our trials."""
    run = folder / "runs" / name / "seed=0"
    rows = Store.open(folder / "store").rows("train")
    sequences = read_table(run / "sequences.parquet", "train")["sequence"].to_pylist()
    return read_history(run / "history.csv"), [np.searchsorted(rows, sequence) for sequence in sequences]


@pytest.mark.slow
def test_bss_h_shows_the_same_subsets_with_the_same_losses(trained, script):
    variant, _, folder = trained
    model, optimiser, inputs, labels = script
    mode = "eval" if variant == "twitter2015" else "train"
    scores = script_scores(copy.deepcopy(model), inputs, labels, mode, of_logits=variant == "nvgesture")
    store = Store.open(folder / "store")
    ours = read_scores(scores_path(folder / "scores", 0, "initial"), store)
    np.testing.assert_allclose(ours, scores, atol=2e-6)
    ranking = np.argsort(-scores)
    history, sequences = our_run(folder, "official-h")
    for epoch, count in ((1, 8), (2, 11)):  # floor(48 sqrt(0.99 / 40 epoch + 0.01))
        assert count == math.floor(SAMPLES * math.sqrt((1 - 0.1**2) / 40 * epoch + 0.1**2))
        order, row = sequences[epoch - 1], history[epoch - 1]
        assert sorted(order) == sorted(ranking[:count])
        loss, steps = script_epoch(model, optimiser, inputs, labels, order)
        assert (row["schedule/steps"], row["schedule/samples"]) == (steps, steps * BATCH)
        assert row["train/loss"] == pytest.approx(loss, rel=1e-5)


def test_bss_l_measures_the_same_scores_with_the_same_losses(trained, script):
    variant, _, folder = trained
    model, optimiser, inputs, labels = script
    mode = "eval" if variant == "twitter2015" else "train"
    history, sequences = our_run(folder, "official-l")
    table = open_table(folder / "runs" / "official-l" / "seed=0" / "measurements.parquet", "train", ("epoch", "score"))
    measured = table.numbers("score").reshape(2, SAMPLES)
    for order, row, ours in zip(sequences, history, measured, strict=True):
        scores = script_scores(model, inputs, labels, mode, of_logits=variant == "nvgesture")
        np.testing.assert_allclose(ours, scores, atol=2e-5)
        assert sorted(order) == list(range(SAMPLES))
        loss, steps = script_epoch(model, optimiser, inputs, labels, order)
        assert steps == SAMPLES // BATCH
        assert row["train/loss"] == pytest.approx(loss, rel=1e-5)
        assert (row["schedule/steps"], row["schedule/samples"]) == (steps, steps * BATCH)


@pytest.mark.slow
def test_the_orders_have_the_scripts_law(trained):
    variant, config, _ = trained
    scores, draws = np.array([0.9, 0.1, -0.4, -1.0]), 20_000
    signed = -scores if variant == "twitter2015" else scores
    weights = 1 + signed + (0 if variant == "nvgesture" else 0.01)
    weights = weights / weights.sum()
    heuristic, learned = (config.schedule.schedulers[name] for name in ("official-h", "official-l"))
    found = Counter(tuple(learned.sequence(scores, 1, seed).tolist()) for seed in range(draws))
    shuffled = Counter(
        tuple(heuristic.sequence(np.array([7, 5, 3, *[0] * 13]), 0, seed, minimum=3).tolist()) for seed in range(draws)
    )
    for order in itertools.permutations(range(4)):
        chance, left = 1.0, 1.0
        for index in order[:-1]:  # what is drawn last is the only one left
            chance *= weights[index] / left
            left -= weights[index]
        within = 5 * math.sqrt(draws * chance * (1 - chance)) + 1e-9
        assert found[order] == pytest.approx(draws * chance, abs=within)
    for order in itertools.permutations([7, 5, 3]):
        assert shuffled[order] == pytest.approx(draws / 6, abs=5 * math.sqrt(draws * 5 / 36))
