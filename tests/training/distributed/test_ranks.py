"""Ranks that share a trial, as real processes of a gloo group, against one process alone."""

import csv
import multiprocessing
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from conftest import small_tree
from hypothesis import given
from hypothesis import strategies as st
from trials import train_at

from bss.config import config_from_tree
from bss.config.training import SgdConfig
from bss.data.store import Store
from bss.data.tables import read_table
from bss.errors import BssError
from bss.models.network import build_network, describe_network
from bss.training.distributed.batch_norm import share_batch_norm
from bss.training.distributed.ranks import ALONE, Ranks, require_gpus
from bss.training.measuring import measure
from bss.training.samples import split_data
from bss.training.samples.split_data import SplitData
from bss.training.sequences import split_into_batches
from bss.training.steps import make_optimiser, train_epoch

TRIALS = {1: ("bss-l-online",), 2: ("uniform", "bss-h", "bss-l", "bss-l-online", "official-l"), 4: ("uniform", "bss-h")}
"""What is trained with how many ranks; the trials of one rank are those of the fixture `pipeline`."""
PARTS = (7, 0, 2, 1)
"""Samples per rank in the comparison of batch normalisations."""
PARTWISE = {"accumulate": 2, "clip": 0.5}
"""Shorter than the gradients of the steps."""


def with_processes(config, processes):
    return replace(config, train=replace(config.train, processes=processes))


def take_steps(network, data, ranks, accumulate=1, clip=None):
    """Train on batches of 15, 15, 15 and 2; return which samples this rank took in each step or part of one."""
    taken = []
    batches = split_into_batches(np.random.default_rng(0).permutation(len(data))[:47], 15)
    wrapped = ranks.wrap(network)
    optimiser = make_optimiser(network, SgdConfig("sgd", learning_rate=0.1, momentum=0.5))
    observe = lambda i, *_: taken.append(i.tolist())  # noqa: E731
    settings = {"seed": 0, "epoch": 0, "accumulate": accumulate, "clip": clip}
    loss = train_epoch(network, optimiser, data, batches, observe, wrapped, ranks, **settings)
    return {"batches": [b.tolist() for b in batches], "taken": taken, "loss": loss, "weights": network.state_dict()}


def normalise(layer, inputs, weights):
    """Pass `inputs` through a batch normalisation; return outputs, gradients and running statistics."""
    inputs = inputs.clone().requires_grad_()
    outputs = layer(inputs)
    (outputs * weights).sum().backward()
    gradients = [inputs.grad, *(p.grad for p in layer.parameters())]
    return outputs.detach(), gradients, layer.state_dict()


def batch_norm_inputs():
    random = torch.Generator().manual_seed(0)
    shape = (sum(PARTS), 3, 2, 2)
    return torch.randn(shape, generator=random) * 2 + 50, torch.randn(shape, generator=random)


def make_data(store, config):
    network = build_network(describe_network(config.network, store), seed=1)
    return network, SplitData(store, "train", network, torch.device("cpu"))


def run_rank(rank, count, config, store_path, plans, folder):
    """Do all that the tests look at as one rank, and leave it in `folder`."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/group", rank=rank, world_size=count)
    ranks, store = Ranks(rank, count), Store.open(store_path)
    found = {}
    network, data = make_data(store, config)
    found["cached"] = take_steps(network, data, ranks)
    split_data.CACHE_BYTES = 0
    found["read"] = take_steps(*make_data(store, config), ranks)
    found["parts"] = take_steps(*make_data(store, config), ranks, **PARTWISE)
    if count == len(PARTS):
        layer = torch.nn.Sequential(torch.nn.BatchNorm2d(3))
        share_batch_norm(layer)
        inputs, weights = (x.split(PARTS)[rank] for x in batch_norm_inputs())
        found["batch norm"] = normalise(layer, inputs, weights)
    torch.save(found, folder / f"{rank}.pt")
    for name in TRIALS[count]:
        path = folder / "runs" / name / "seed=0"
        train_at(path, with_processes(config, count), store, plans, name, 0, lambda row: None, ranks)
    torch.distributed.destroy_process_group()


@dataclass
class Group:
    """What the ranks of one group left behind."""

    found: list
    runs: object


@pytest.fixture(scope="module")
def groups(pipeline, small_store, tmp_path_factory):
    outputs, config = pipeline
    made = {}
    # One process imports what all ranks need, and they are forked from it.
    multiprocessing.set_forkserver_preload(["torch._dynamo", "sklearn.metrics", "bss.training.trial_folder"])
    for count in (2, 4):
        folder = tmp_path_factory.mktemp(f"ranks-{count}")
        arguments = (count, config, small_store, outputs / "plans", folder)
        torch.multiprocessing.start_processes(run_rank, arguments, nprocs=count, start_method="forkserver")
        found = [torch.load(folder / f"{rank}.pt") for rank in range(count)]
        made[count] = Group(found, folder / "runs")
    return made


@given(st.integers(0, 40), st.integers(1, 9))
def test_shares_hold_every_sample_of_a_batch_once(n, count):
    batch = np.random.default_rng(0).permutation(n)
    shares = [Ranks(rank, count).share(batch) for rank in range(count)]
    assert sorted(np.concatenate(shares).tolist()) == list(range(n))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.process
@pytest.mark.parametrize("count", [2, 4])
@pytest.mark.parametrize("data", ["cached", "read"])
def test_the_ranks_together_take_each_global_batch_in_order_even_one_smaller_than_their_number(groups, count, data):
    found = [part[data] for part in groups[count].found]
    batches = found[0]["batches"]
    assert [len(batch) for batch in batches] == [15, 15, 15, 2]
    for step, batch in enumerate(batches):
        together = [None] * len(batch)
        for rank, part in enumerate(found):
            together[rank::count] = part["taken"][step]
        assert together == batch
    if count == 4:
        assert found[3]["taken"][-1] == []


@pytest.mark.process
@pytest.mark.parametrize("count", [2, 4])
@pytest.mark.parametrize("data", ["cached", "read", "parts"])
def test_steps_are_those_of_one_process_and_the_same_bits_on_all_ranks(groups, count, data, pipeline, small_store):
    alone = take_steps(*make_data(Store.open(small_store), pipeline[1]), ALONE, **PARTWISE if data == "parts" else {})
    first, *others = [part[data] for part in groups[count].found]
    assert first["loss"] == pytest.approx(alone["loss"], abs=1e-6)
    assert first["weights"].keys() == alone["weights"].keys()
    for name, value in first["weights"].items():
        torch.testing.assert_close(value, alone["weights"][name], atol=1e-6, rtol=1e-5)
        assert all(torch.equal(value, other["weights"][name]) for other in others)
        assert all(other["loss"] == first["loss"] for other in others)


@pytest.mark.process
def test_batch_normalisation_over_ranks_is_that_of_the_whole_batch(groups):
    parts = [part["batch norm"] for part in groups[4].found]
    inputs, weights = batch_norm_inputs()
    outputs, gradients, state = normalise(torch.nn.Sequential(torch.nn.BatchNorm2d(3)), inputs, weights)
    torch.testing.assert_close(torch.cat([part[0] for part in parts]), outputs, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(torch.cat([part[1][0] for part in parts]), gradients[0], atol=1e-5, rtol=1e-5)
    for i in (1, 2):  # each rank has the gradient of its samples; the sum is what all-reduce makes of them
        total = torch.stack([part[1][i] for part in parts]).sum(dim=0)
        torch.testing.assert_close(total, gradients[i], atol=1e-4, rtol=1e-5)
    for part in parts:
        for name, value in state.items():
            torch.testing.assert_close(part[2][name], value, atol=1e-5, rtol=1e-5)


@pytest.mark.process
@pytest.mark.parametrize(("count", "name"), [(2, "uniform"), (2, "bss-h"), (4, "uniform"), (4, "bss-h")])
def test_sequences_and_steps_do_not_depend_on_the_number_of_ranks(groups, count, name, pipeline):
    one, many = pipeline[0] / "runs" / name / "seed=0", groups[count].runs / name / "seed=0"
    assert (many / "sequences.parquet").read_bytes() == (one / "sequences.parquet").read_bytes()
    columns = ("schedule/digest", "schedule/samples", "schedule/steps", "schedule/fraction")
    histories = []
    for folder in (one, many):
        with (folder / "history.csv").open(encoding="utf-8") as file:
            histories.append([{key: row[key] for key in columns} for row in csv.DictReader(file)])
    assert histories[0] == histories[1]


@pytest.mark.process
@pytest.mark.parametrize("name", ["bss-l", "bss-l-online", "official-l"])
def test_measured_scores_do_not_depend_on_the_number_of_ranks(groups, name, pipeline):
    one, two = (
        read_table(runs / name / "seed=0" / "measurements.parquet", "train")
        for runs in (pipeline[0] / "runs", groups[2].runs)
    )
    assert one["epoch"].to_pylist() == two["epoch"].to_pylist()
    assert len(set(one["epoch"].to_pylist())) > 1
    for column in ("score", "smoothed"):
        np.testing.assert_allclose(one[column].to_numpy(), two[column].to_numpy(), atol=1e-4)


@pytest.mark.process
@pytest.mark.parametrize("name", TRIALS[2])
def test_a_training_over_ranks_is_that_of_one_process_up_to_the_order_of_sums(groups, name, pipeline):
    one, two = (torch.load(runs / name / "seed=0" / "model.pt") for runs in (pipeline[0] / "runs", groups[2].runs))
    for key, value in one.items():
        torch.testing.assert_close(two[key], value, atol=1e-4, rtol=1e-4)


def test_a_rank_measures_what_it_is_dealt_and_leaves_the_rest_open(pipeline, small_store):
    network, data = make_data(Store.open(small_store), pipeline[1])
    criteria = ("training_loss", "gradient_magnitude")
    whole = measure(network, data, criteria)
    part = measure(network, data, criteria, [np.arange(3, 9), np.arange(0)])
    for name, column in part.items():
        assert np.isnan(np.delete(column, np.arange(3, 9))).all()
        np.testing.assert_allclose(column[3:9], whole[name][3:9], atol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"processes": 0}, "train: `processes` must be at least 1"),
        ({"nodes": 0}, "train: `nodes` must be at least 1"),
        ({"processes": 4, "batch_size": 7}, r"2 for each of 1 x 4 processes"),
        ({"processes": 2, "nodes": 3, "batch_size": 11}, r"at least 12"),
        ({"processes": 2.0}, r"train\.processes"),
    ],
)
def test_processes_that_the_batch_does_not_suffice_for_are_refused(small_root, change, message):
    tree = small_tree(small_root)
    tree["train"].update(change)
    with pytest.raises(BssError, match=message):
        config_from_tree(tree, "params.yaml")


@pytest.mark.skipif(torch.cuda.device_count() > 7, reason="there are that many GPUs")
def test_processes_without_a_gpu_each_are_refused():
    with pytest.raises(BssError, match=r"train\.processes: 8 processes need a GPU each, but this machine has"):
        require_gpus(8)
