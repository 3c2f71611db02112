from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.stats import spearmanr

from bss.config import BUILTIN, load_config
from bss.config.training import SgdConfig
from bss.data.builtin import digits
from bss.data.store import Store
from bss.errors import BssError
from bss.models.network import build_network, describe_network
from bss.stages.generate import generate
from bss.stages.measure import measure_seed
from bss.stages.prepare import prepare
from bss.training.initial_network import initial_network
from bss.training.measuring import batches_in_train_mode, measure, measure_in_train_mode
from bss.training.samples.split_data import SplitData
from bss.training.sequences import split_into_batches
from bss.training.steps import make_optimiser, train_epoch

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


def test_batches_in_train_mode_are_shuffled_or_in_the_order_of_the_dataset(tree, make_config):
    def found(epoch, **keys):
        config = make_config(tree | {"measure": keys})
        return [batch.tolist() for batch in batches_in_train_mode(config, 40, 3, epoch)]

    assert found(0, order="dataset") == [[*range(16)], [*range(16, 32)], [*range(32, 40)]] == found(1, order="dataset")
    assert [len(batch) for batch in found(0)] == [16, 16, 8]
    assert sorted(index for batch in found(0) for index in batch) == list(range(40))
    assert found(0) == found(0, order="shuffled") != found(1)
    assert found(0, order="dataset", batch_size=1) == [[i] for i in range(40)]


def test_the_initial_scores_are_those_of_the_mode_that_is_asked_for(small_store, tree, make_config):
    store = Store.open(small_store)
    columns = {}
    for mode in ("train", "eval"):
        config = make_config(tree | {"measure": {"warmup_epochs": 0, "initial_mode": mode}})
        columns[mode] = measure_seed(config, store, 0)
    np.testing.assert_array_equal(columns["eval"]["initial"]["score"], columns["eval"]["warm-up"]["score"])
    np.testing.assert_array_equal(columns["train"]["warm-up"]["score"], columns["eval"]["warm-up"]["score"])
    assert not np.allclose(columns["train"]["initial"]["score"], columns["eval"]["initial"]["score"])


def test_batches_of_one_that_batch_normalisation_cannot_measure_are_reported(small_store, tree, make_config):
    config = make_config(tree | {"measure": {"warmup_epochs": 0, "batch_size": 1}})
    before = torch.get_rng_state()
    with pytest.raises(BssError, match=r"measure\.batch_size: .* batches of 1 sample in train mode"):
        measure_seed(config, Store.open(small_store), 0)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_warm_up_that_drop_last_leaves_nothing_of_is_reported(small_store, tree, make_config):
    train = tree["train"] | {"batch_size": 49, "drop_last": True}
    with pytest.raises(BssError, match=r"train\.drop_last drops all 48 samples"):
        measure_seed(make_config(tree | {"train": train}), Store.open(small_store), 0)


def fail(*_):
    raise RuntimeError("on purpose")


def test_a_pass_or_an_epoch_that_fails_restores_the_generators_while_its_error_is_still_held(measured):
    """What holds an error holds its frames; a generator that is ended with them would restore later, or never."""
    network, data = measured
    batches = split_into_batches(np.arange(len(data)), 16)
    optimiser = make_optimiser(network, SgdConfig("sgd", 0.1))
    before = torch.get_rng_state()
    with pytest.raises(RuntimeError, match="on purpose") as of_epoch:
        train_epoch(network, optimiser, data, batches, fail, seed=0, epoch=0)
    assert of_epoch.tb
    assert torch.equal(torch.get_rng_state(), before)
    network.register_forward_hook(fail)
    with pytest.raises(RuntimeError, match="on purpose") as of_pass:
        measure_in_train_mode(network, data, ("training_loss",), batches, seed=0, epoch=0)
    assert of_pass.tb
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("trained_in", ["fp32", "bf16"])
def test_the_precision_of_a_pass_is_its_own_and_gradients_have_fp32(trained_in, measured):
    network, data = measured
    network.precision = trained_in
    for mode in ("eval", "train"):

        def found(precision, mode=mode):
            if mode == "eval":
                return measure(network, data, ALL, precision=precision)
            batches = [np.arange(len(data))]
            return measure_in_train_mode(network, data, ALL, batches, seed=0, epoch=0, precision=precision)

        single, low, default = found("fp32"), found("bf16"), found(None)
        for name in ("training_loss", "prediction_similarity", "loss_audio"):
            np.testing.assert_array_equal(default[name], (low if trained_in == "bf16" else single)[name])
            assert not np.array_equal(single[name], low[name])
            np.testing.assert_allclose(single[name], low[name], rtol=0.02)
    assert network.precision == trained_in
    gradients = [measure(network, data, ALL, precision=p)["gradient_magnitude"] for p in (None, "fp32", "bf16")]
    network.precision = "fp32"
    direct = measure(network, data, ("gradient_magnitude",))["gradient_magnitude"]
    for found_in in gradients:
        np.testing.assert_array_equal(found_in, direct)


@pytest.mark.slow
def test_scores_in_bf16_rank_the_built_in_data_as_those_in_fp32_do(tmp_path, monkeypatch):
    monkeypatch.setattr(digits, "SHARES", {"train": 300, "val": 20, "test": 20})
    config = load_config(BUILTIN)
    config = replace(config, prepare=replace(config.prepare, root=str(tmp_path / "digits")))
    generate(config, "digits", tmp_path / "digits")
    prepare(config, tmp_path / "digits", tmp_path / "store")
    store = Store.open(tmp_path / "store")
    network = initial_network(config, store, 0, torch.device("cpu"))
    data = SplitData(store, "train", network, torch.device("cpu"))
    optimiser = make_optimiser(network, config.train.optimiser)
    for epoch in range(config.measure.warmup_epochs):
        order = np.random.default_rng(epoch).permutation(len(data))
        train_epoch(network, optimiser, data, split_into_batches(order, 32), seed=0, epoch=epoch)
    score = config.measure.score
    scores = [score(measure(network, data, score.criteria, precision=p)) for p in ("fp32", "bf16")]
    assert not np.array_equal(*scores)
    tenths = [np.argsort(np.argsort(-values, kind="stable")) * 10 // len(values) for values in scores]
    moved = np.abs(tenths[0] - tenths[1])
    # Measured on all of this data with three seeds after 1, 3 and 12 epochs: 0.99993, 0.042, one tenth, 3.2 %.
    assert spearmanr(*scores).statistic > 0.9995
    assert np.abs(scores[0] - scores[1]).max() < 0.1
    assert moved.max() <= 1
    assert (moved > 0).mean() < 0.08
