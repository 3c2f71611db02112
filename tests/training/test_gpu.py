"""What only a GPU can show; skipped where there is none."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from paper_networks import RESNET, SPECTROGRAM, config_of, write_store

from bss.balance import Learned, SequenceSampler
from bss.config.crop import Crop
from bss.config.training import SgdConfig
from bss.data.store import Store
from bss.models.network import build_network, describe_network
from bss.training.reproducible import make_reproducible
from bss.training.samples import split_data
from bss.training.samples.split_data import SplitData
from bss.training.sequences import split_into_batches
from bss.training.step_graph import CudaRecorder, StepGraph
from bss.training.steps import make_optimiser, train_epoch

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")


@pytest.fixture
def quiet():
    yield
    if torch.cuda.is_available():
        torch.cuda.set_sync_debug_mode("default")


def weights_after_an_epoch(store, precision, graph=None):
    encoders = {"audio": RESNET | {"spectrogram": SPECTROGRAM}, "image": RESNET}
    network = config_of(store.path, {"encoders": encoders}).network
    image = replace(network.encoders["image"], crop=Crop(12, 12))
    network = replace(network, encoders=network.encoders | {"image": image})
    device = torch.device("cuda")
    built = build_network(describe_network(network, store), seed=1, device=device)
    built.precision = precision
    data = SplitData(store, "train", built, device)
    batches = split_into_batches(np.random.default_rng(0).permutation(len(data)), 4)
    sampler = SequenceSampler(len(data), Learned(), 0, scores=np.zeros(len(data)))

    def observe(index, outputs, loss):
        sampler.observe(index, outputs.logits, loss)

    def after_step(step, total):
        # From the second step to the last one whatever waits for the GPU raises an error.
        # Recording a graph waits, once.
        torch.cuda.set_sync_debug_mode("error" if step < len(batches) and graph is None else "default")

    optimiser = make_optimiser(built, SgdConfig("sgd", learning_rate=0.01))
    train_epoch(
        built, optimiser, data, batches, observe, after_step=after_step, seed=0, epoch=0, accumulate=2, graph=graph
    )
    assert sampler.observations.seen.all()
    return built.state_dict()


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_no_step_waits_and_samples_that_are_read_ahead_give_the_same_bits(precision, tmp_path, monkeypatch, quiet):
    make_reproducible()
    store = Store.open(write_store(tmp_path / "store", ["audio", "image"]))
    kept = weights_after_an_epoch(store, precision)
    monkeypatch.setattr(split_data, "CACHE_BYTES", 0)
    read = weights_after_an_epoch(store, precision)
    assert all(torch.equal(value, read[name]) for name, value in kept.items())


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_steps_launched_as_a_graph_give_the_same_bits(precision, tmp_path, quiet):
    make_reproducible()
    store = Store.open(write_store(tmp_path / "store", ["audio", "image"]))
    plain = weights_after_an_epoch(store, precision)
    graph = StepGraph(4, CudaRecorder(torch.device("cuda", torch.cuda.current_device())))
    recorded = weights_after_an_epoch(store, precision, graph)
    assert not graph.failed
    assert all(torch.equal(value, recorded[name]) for name, value in plain.items())
