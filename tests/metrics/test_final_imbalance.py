"""What is measured of the trained network: linear probes, and contributions to single samples."""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from bss.artifacts.contributions import FILE, read_contributions
from bss.data.tables import write_table
from bss.errors import BssError
from bss.report.contributions import mean_contributions, score_correlations
from bss.strategies import Seen
from bss.strategies.shares import sample_contributions
from bss.training import final_imbalance as module
from bss.training import measuring
from bss.training.distributed.ranks import ALONE
from bss.training.final_imbalance import contributions_table, final_imbalance, fit_probe
from bss.training.imbalance import fusion_of
from bss.training.predicting import predict, predict_and_read

sys.path.append(str(Path(__file__).parents[1] / "strategies"))
from toy import Toy, make_network, read_of

TWO = ("audio", "video")


def probe_accuracy(features, labels, scored, wanted):
    return (fit_probe(features, labels)(scored) == wanted).mean()


def test_a_probe_finds_what_a_line_tells_apart_and_nothing_else():
    classes = np.array([0, 0, 1, 1])
    line = np.array([[0.0, 5.0], [1.0, 5.0], [10.0, 5.0], [11.0, 5.0]])  # the second feature is constant
    assert probe_accuracy(line, classes, np.array([[2.0, 5.0], [9.0, 5.0], [4.0, 0.0]]), np.array([0, 1, 1])) == 2 / 3
    square = np.array([[0.0, 0.0], [1.0, 1.0], [0.0, 1.0], [1.0, 0.0]])
    assert probe_accuracy(square, classes, square, classes) == 0.5  # one side of every line has both classes
    assert probe_accuracy(square, np.full(4, 2), square, np.array([2, 0, 1, 2])) == 0.5


@pytest.mark.slow
def test_a_probe_is_logistic_regression_by_another_solver():
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, 60)
    features = random.normal(size=(60, 4)) + 0.8 * np.eye(4)[labels]
    scored, wanted = random.normal(size=(200, 4)), random.integers(0, 3, 200)
    x, y = torch.from_numpy((features - features.mean(axis=0)) / features.std(axis=0)), torch.from_numpy(labels)
    weights = torch.zeros(5, 3, dtype=torch.float64, requires_grad=True)
    for _ in range(3000):  # plain gradient descent on the mean loss with the penalty |W|^2 / 2 n
        loss = torch.nn.functional.cross_entropy(x @ weights[:4] + weights[4], y) + weights[:4].square().sum() / 120
        (gradient,) = torch.autograd.grad(loss, weights)
        weights = (weights - 0.5 * gradient).detach().requires_grad_()
    z = torch.from_numpy((scored - features.mean(axis=0)) / features.std(axis=0))
    right = ((z @ weights[:4] + weights[4]).argmax(dim=1).numpy() == wanted).mean()
    assert probe_accuracy(features, labels, scored, wanted) == pytest.approx(right)


def test_contributions_to_samples_by_hand():
    # Classes of the fused sum, with label 0: both right, audio alone right, audio wrong and video right, none right.
    eye = torch.eye(3)
    features = {"audio": eye[[0, 0, 1, 1]] * 2, "video": eye[[0, 1, 0, 1]] * torch.tensor([[1.0], [1.0], [1.0], [1.0]])}
    fuse = lambda features: features["audio"] + features["video"]  # noqa: E731
    seen = Seen(features, {}, fuse(features), torch.zeros(4, dtype=torch.int64), fuse)
    # Sample 3: video alone wins 1, both lose: video gets (1 + 0 - 0) / 2, audio (0 + 0 - 1) / 2.
    assert sample_contributions(seen).tolist() == [[1.0, 1.0], [1.5, 0.5], [-0.5, 0.5], [0.0, 0.0]]


@pytest.fixture
def measured():
    network, data = make_network(TWO), Toy(TWO)
    return (
        network,
        data,
        final_imbalance(network, data, {"val": read_of(network, data), "test": read_of(network, data)}, ALONE),
    )


def test_of_a_network(measured, monkeypatch):
    network, data, found = measured
    network.eval()
    with torch.no_grad():
        outputs = network(data.inputs)
        features = network.activate(outputs.features)
        seen = Seen(features, outputs.logits, outputs.fused, data.labels, network.fuse)
        expected = sample_contributions(seen).numpy()
    labels = data.labels.numpy()
    for place, name in enumerate(TWO):
        np.testing.assert_array_equal(found.contributions[name], expected[:, place])
        x = features[name].double().numpy()
        right = probe_accuracy(x, labels, x, labels)
        assert found.metrics[f"imbalance/probe_{name}"] == found.metrics[f"imbalance/val_probe_{name}"] == right
        assert right > 1 / 3
    monkeypatch.setattr(module, "MOST", 9)  # features of a few, contributions of all
    some = final_imbalance(network, data, {"test": read_of(network, data)}, ALONE)
    for name in TWO:
        np.testing.assert_array_equal(some.contributions[name], found.contributions[name])
    assert "imbalance/val_probe_audio" not in some.metrics


def test_evaluating_reads_some_samples_on_the_way(monkeypatch):
    monkeypatch.setattr(measuring, "BATCH", 6)  # of 22 samples
    network, data, chosen = make_network(TWO), Toy(TWO), np.array([0, 5, 6, 21])
    scores, heads, read = predict_and_read(network, data, chosen)
    assert read.labels.tolist() == data.labels[chosen].tolist()
    with torch.no_grad():
        features = network.activate(network.encode(data.inputs))
    for name in TWO:
        torch.testing.assert_close(read.features[name], features[name][chosen])
        assert read.logits[name].numpy().tobytes() == heads[name][chosen].tobytes()
    assert scores.tobytes() == predict(network, data)[0].tobytes()


def test_where_the_heads_alone_predict_their_sum_takes_the_place_of_the_fusion_head():
    network, data = make_network(TWO, prediction="unimodal-heads"), Toy(TWO)
    with torch.no_grad():
        network.fusion.head.weight.mul_(-5)  # not trained, so it may be anything
        network.eval()
        features = network.activate(network.encode(data.inputs))
        summed = lambda of: network.heads["audio"](of["audio"]) + network.heads["video"](of["video"])  # noqa: E731
        torch.testing.assert_close(fusion_of(network)(features), summed(features))
        expected = sample_contributions(Seen(features, {}, summed(features), data.labels, summed)).numpy()
    found = final_imbalance(network, data, {"test": read_of(network, data)}, ALONE).contributions
    np.testing.assert_array_equal(np.stack(list(found.values()), axis=1), expected)
    plain = make_network(TWO)
    assert fusion_of(plain) == plain.fuse


def store_of(rows, classes=3):
    ids = np.array([f"s{i}" for i in range(max(rows) + 1)])
    labels = np.arange(len(ids)) % classes
    return SimpleNamespace(
        path=Path("store"), ids=ids, labels=labels, modalities=TWO, rows=lambda split: np.array(rows)
    )


def test_the_file_is_read_for_the_samples_that_it_is_of(tmp_path):
    store, given = store_of([1, 3]), {"audio": np.array([1.0, -0.5]), "video": np.array([1.0, 0.5])}
    assert read_contributions(tmp_path, store) is None
    write_table(tmp_path / FILE, contributions_table(store, SimpleNamespace(rows=np.array([1, 3])), given))
    found = read_contributions(tmp_path, store)
    assert {name: column.tolist() for name, column in found.items()} == {"audio": [1.0, -0.5], "video": [1.0, 0.5]}
    with pytest.raises(BssError, match=r"contributions.parquet: its 2 samples are not the 3 training samples of store"):
        read_contributions(tmp_path, store_of([1, 3, 4]))


def test_the_rank_correlation_with_the_balance_score(tmp_path, monkeypatch):
    import bss.report.contributions as report

    store, folders = store_of([0, 1, 2]), [tmp_path / "0", tmp_path / "1"]
    audio = ([1.0, 1.5, 1.5], [0.5, 0.5, 0.5])  # apart by 0, 1 and 2; by 0 everywhere
    video = ([1.0, 0.5, -0.5], [0.5, 0.5, 0.5])
    for folder, a, v in zip(folders, audio, video, strict=True):
        folder.mkdir()
        table = contributions_table(
            store, SimpleNamespace(rows=np.arange(3)), {"audio": np.array(a), "video": np.array(v)}
        )
        write_table(folder / FILE, table)
    monkeypatch.setattr(report, "read_scores", lambda path, store: np.array([0.9, 0.2, 0.5]))
    trials = [SimpleNamespace(folder=folder) for folder in folders]
    config = SimpleNamespace(seeds=(0, 1))
    # Ranks of the score 3 1 2, of the distances 1 2 3: 1 - 6 (4 + 1 + 1) / (3 * 8).
    found = score_correlations(config, store, tmp_path, {"uniform": trials})
    assert found["uniform"].tolist() == pytest.approx([-0.5, 0.0])
    assert mean_contributions(trials, store)["audio"].tolist() == [0.75, 1.0, 1.0]
    (folders[1] / FILE).unlink()
    assert score_correlations(config, store, tmp_path, {"uniform": trials}) is None
    assert mean_contributions(trials, store) == {}
