"""Networks of the paper's kinds over ranks: batch normalisation of three dimensions, nested and shared; dropout."""

import multiprocessing

import numpy as np
import pytest
import torch
from paper_networks import BERT, RESNET, config_of, write_store

from bss.config.training import SgdConfig
from bss.data.store import Store
from bss.models.network import build_network, describe_network
from bss.training.distributed.ranks import ALONE, Ranks
from bss.training.measuring import measure_in_train_mode
from bss.training.samples.split_data import SplitData
from bss.training.steps import make_optimiser, train_epoch

pytestmark = pytest.mark.process

RANKS = 3
BATCHES = (np.arange(7), np.arange(10, 16), np.array([20, 30]))  # of the last one rank has nothing
NETWORKS = {
    "attention": {
        "encoders": {"image": RESNET, "flow": {"kind": "i3d", "features": 8}, "text": BERT},
        "fusion": {"kind": "cross-attention"},
    },
    "dropout": {
        "encoders": {
            "text": BERT | {"dropout": 0.3},
            "frames": {"kind": "vit", "patch": 8, "hidden": 16, "layers": 1, "heads": 2, "dropout": 0.2},
        },
    },
    "exchange": {
        "encoders": {"image": RESNET, "frames": RESNET},
        "fusion": {"kind": "channel-exchange", "threshold": 0.9, "sparsity": 0.5},
    },
}


def take_steps(network, store_path, ranks):
    """Train on `BATCHES` and measure in train mode; return the weights before and after, loss and columns."""
    store, config = Store.open(store_path), config_of(store_path, network)
    built = build_network(describe_network(config.network, store), seed=1)
    data = SplitData(store, "train", built, torch.device("cpu"))
    # In double precision, as these networks multiply rounding: their last maps have one pixel of few samples.
    built.double()
    data._inputs = {name: x.double() if x.is_floating_point() else x for name, x in data._inputs.items()}
    before = {name: value.clone() for name, value in built.state_dict().items()}
    wrapped = ranks.wrap(built)
    optimiser = make_optimiser(built, SgdConfig("sgd", learning_rate=0.01))
    loss = train_epoch(built, optimiser, data, list(BATCHES), None, wrapped, ranks, seed=0, epoch=0)
    after = {name: value.clone() for name, value in built.state_dict().items()}
    columns = measure_in_train_mode(built, data, ("training_loss",), list(BATCHES), seed=0, epoch=0, ranks=ranks)
    return before, after, loss, {name: torch.from_numpy(column) for name, column in columns.items()}


def run_rank(rank, stores, folder):
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/group", rank=rank, world_size=RANKS)
    found = {name: take_steps(network, stores[name], Ranks(rank, RANKS)) for name, network in NETWORKS.items()}
    torch.save(found, folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stores")
    return {name: write_store(folder / name, list(network["encoders"])) for name, network in NETWORKS.items()}


@pytest.fixture(scope="module")
def found(stores, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    multiprocessing.set_forkserver_preload(["torch._dynamo", "bss.models.encoders.bert", "bss.models.encoders.resnet"])
    torch.multiprocessing.start_processes(run_rank, (stores, folder), nprocs=RANKS, start_method="forkserver")
    return [torch.load(folder / f"{rank}.pt") for rank in range(RANKS)]


@pytest.mark.parametrize("name", NETWORKS)
def test_steps_over_ranks_are_those_of_one_process(name, found, stores):
    torch.set_num_threads(1)
    before, alone, loss, measured = take_steps(NETWORKS[name], stores[name], ALONE)
    _, first, first_loss, _ = found[0][name]
    assert first_loss == pytest.approx(loss, rel=1e-9)
    assert first.keys() == alone.keys()
    for key, value in alone.items():
        torch.testing.assert_close(first[key], value, atol=1e-6, rtol=1e-5)
        assert all(torch.equal(first[key], other[name][1][key]) for other in found)
    assert not any(torch.equal(before[key], alone[key]) for key in ("fusion.head.weight",))
    for key, column in measured.items():
        together = torch.stack([part[name][3][key] for part in found]).nansum(dim=0)
        torch.testing.assert_close(together, column.nan_to_num(), atol=1e-5, rtol=1e-5)
