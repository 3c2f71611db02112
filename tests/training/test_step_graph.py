"""A recorded step: what goes in and out, and when it is recorded again. A stand-in repeats the work on a CPU."""

import copy
from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch
from conftest import small_tree
from killed import Killed, killed_after_saving
from test_resume import content
from trials import train_at

from bss.config.training import AdamConfig, TrainConfig
from bss.data.store import Store
from bss.stages import measure as measuring
from bss.training import trial, uniform
from bss.training.step_graph import WARM_UP, StepGraph, step_graph

BATCH = 14
"""48 samples make three whole batches and a smaller one."""


class StandIn:
    """Does what a CUDA graph does: runs nothing when it records, bakes in the learning rate, keeps its memory."""

    def __init__(self, optimisers):
        self.optimisers, self.records, self.replays = optimisers, 0, 0

    def stream(self):
        return nullcontext()

    def record(self, work):
        self.work, self.results = work, []
        self.records += 1
        self.rates = [group["lr"] for group in self.optimisers[-1].param_groups]
        return self.results

    def replay(self):
        self.replays += 1
        groups = self.optimisers[-1].param_groups
        now = [group["lr"] for group in groups]
        for group, rate in zip(groups, self.rates, strict=True):
            group["lr"] = rate
        made = self.work()
        for group, rate in zip(groups, now, strict=True):
            group["lr"] = rate
        if not self.results:
            self.results.extend(made)
        for (kept, kept_loss), (outputs, loss) in zip(self.results, made, strict=True):
            kept.fused.copy_(outputs.fused)
            kept_loss.copy_(loss)
            for into, given in ((kept.logits, outputs.logits), (kept.features, outputs.features)):
                for name, x in given.items():
                    into[name].copy_(x)


@pytest.fixture
def recorders(monkeypatch):
    """The stand-ins of the trials that were started since."""
    made, optimisers = [], []
    make_optimiser = trial.make_optimiser

    def remember(*arguments):
        optimisers.append(make_optimiser(*arguments))
        return optimisers[-1]

    def graph(config, device):
        made.append(StandIn(optimisers))
        return StepGraph(config.train.batch_size, made[-1])

    for module in (trial, uniform):
        monkeypatch.setattr(module, "make_optimiser", remember)
        monkeypatch.setattr(module, "step_graph", graph)
    return made


def config_for(make_config, root, **train):
    tree = small_tree(root)
    tree["resources"]["checkpoints"] = {"minutes": None, "steps": 1}
    config = make_config(tree)
    return replace(config, train=replace(config.train, batch_size=BATCH, **train))


def trained(config, small_store, plans, path, name="bss-l-online"):
    train_at(path, config, Store.open(small_store), plans, name, 0, lambda row: None)
    return content(path)


CHANGES = {
    "sgd": {},
    "adam": {"optimiser": AdamConfig("adam", learning_rate=0.01)},
    "bf16": {"precision": "bf16"},
    "accumulate": {"accumulate": 3},
    "clip": {"clip": 0.1},
}


SCHEDULERS = ("uniform", "bss-h", "bss-l", "bss-l-online", "official-l")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "change"),
    [*((name, "sgd") for name in SCHEDULERS), *(("bss-l-online", change) for change in CHANGES if change != "sgd")],
)
def test_recorded_steps_give_the_bits_of_plain_ones(
    name, change, make_config, small_root, small_store, pipeline, tmp_path, request
):
    config, plans = config_for(make_config, small_root, **CHANGES[change]), pipeline[0] / "plans"
    plain = trained(config, small_store, plans, tmp_path / "plain", name)
    recorders = request.getfixturevalue("recorders")
    assert trained(config, small_store, plans, tmp_path / "recorded", name) == plain
    (recorder,) = recorders
    if name != "bss-h":  # whose first epochs are shorter
        # Three epochs of three whole batches, less the first three steps; the rate falls before the last epoch.
        assert (recorder.records, recorder.replays) == (2, 9 - WARM_UP)
    assert recorder.replays > 0


@pytest.mark.slow
def test_dropout_draws_in_a_recorded_step_what_it_draws_in_a_plain_one(
    make_config, small_root, small_store, pipeline, tmp_path, request, monkeypatch
):
    config, plans = config_for(make_config, small_root), pipeline[0] / "plans"
    without = trained(config, small_store, plans, tmp_path / "without")
    initial_network = trial.initial_network

    def with_dropout(*arguments):
        network = initial_network(*arguments)
        network.encoders["vector"].layers.append(torch.nn.Dropout(0.5))
        return network

    monkeypatch.setattr(trial, "initial_network", with_dropout)
    plain = trained(config, small_store, plans, tmp_path / "plain")
    assert plain["model.pt"] != without["model.pt"]
    recorders = request.getfixturevalue("recorders")
    assert trained(config, small_store, plans, tmp_path / "recorded") == plain
    assert recorders[0].replays == 9 - WARM_UP


@pytest.mark.slow
def test_a_training_that_was_stopped_anywhere_ends_with_the_same_bits(
    make_config, small_root, small_store, pipeline, tmp_path, request
):
    config, plans = config_for(make_config, small_root), pipeline[0] / "plans"
    plain = trained(config, small_store, plans, tmp_path / "plain")
    recorders = request.getfixturevalue("recorders")
    for steps in (2, 5, 7, 8, 11):
        path = tmp_path / f"{steps}"
        with killed_after_saving(lambda done, steps=steps: done >= steps), pytest.raises(Killed):
            trained(config, small_store, plans, path)
        assert trained(config, small_store, plans, path) == plain
    assert sum(recorder.replays for recorder in recorders) > 10


def test_the_warm_up_of_measuring_takes_recorded_steps(make_config, small_root, small_store, request, monkeypatch):
    monkeypatch.setattr(measuring, "emit", lambda *_: None)
    config = config_for(make_config, small_root)
    config = replace(config, measure=replace(config.measure, warmup_epochs=2))
    plain = measuring.measure_seed(config, Store.open(small_store), 0)
    recorders = request.getfixturevalue("recorders")
    recorded = measuring.measure_seed(config, Store.open(small_store), 0)
    assert recorders[0].replays == 3
    for timing, columns in plain.items():
        for name, values in columns.items():
            assert values.tobytes() == recorded[timing][name].tobytes()


@pytest.mark.slow
def test_a_step_that_cannot_be_recorded_is_reported_once_and_taken_plainly(
    make_config, small_root, small_store, pipeline, tmp_path, recorders, monkeypatch, capsys
):
    config, plans = config_for(make_config, small_root), pipeline[0] / "plans"

    def refuse(self, work):
        raise RuntimeError("operation not permitted when stream is capturing\nand more")

    with monkeypatch.context() as patch:
        patch.setattr(StandIn, "record", refuse)
        refused = trained(config, small_store, plans, tmp_path / "refused")
    printed = " ".join(capsys.readouterr().out.split())
    assert printed.count("cannot be recorded as a CUDA graph (operation not permitted when stream is capturing)") == 1
    assert recorders[0].replays == 0
    assert trained(config, small_store, plans, tmp_path / "recorded") == refused


def one_layer(sequence, graph, optimiser, layer):
    """Take a step per value of `sequence` that adds up what it sees; return what each step gave."""

    class Take:
        network = layer

        def __init__(self):
            self.optimiser = optimiser

        def __call__(self, lengths, loaded):
            optimiser.zero_grad(set_to_none=True)
            (inputs, labels) = next(loaded)
            loss = layer(inputs["x"])
            loss.sum().backward()
            optimiser.step()
            return [(Result(loss.detach()), labels.float())]

    seen = []
    with graph.epoch():
        for value in sequence:
            part = ({"x": torch.full((2, 1), float(value))}, torch.full((2,), value))
            ((outputs, labels),) = graph.step(Take(), [2], iter([part]))
            seen.append((float(outputs.fused.sum()), labels.tolist()))
    return seen


class Result:
    def __init__(self, fused):
        self.fused, self.logits, self.features = fused, {}, {}


def layer_and_optimiser():
    layer = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.ones_(layer.weight)
    return layer, torch.optim.SGD(layer.parameters(), lr=0.5, momentum=0.5)


def test_a_recorded_step_reads_the_batch_at_hand():
    layer, optimiser = layer_and_optimiser()
    recorder = StandIn([optimiser])
    seen = one_layer([1, 1, 1, 0, 2, 3], StepGraph(2, recorder), optimiser, layer)
    # Two samples of value v have the gradient 2 v; the momentum is half of the last one, the rate a half.
    weight, momentum, expected = 1.0, 0.0, []
    for value in (1, 1, 1, 0, 2, 3):
        expected.append((2 * value * weight, [value, value]))
        momentum = momentum / 2 + 2 * value
        weight -= momentum / 2
    assert seen == expected
    assert (recorder.records, recorder.replays) == (1, 3)


def test_a_step_is_recorded_again_when_what_it_bakes_in_has_changed():
    layer, optimiser = layer_and_optimiser()
    recorder = StandIn([optimiser])
    graph = StepGraph(2, recorder)
    one_layer([1] * 5, graph, optimiser, layer)
    assert recorder.records == 1
    one_layer([1] * 2, graph, optimiser, layer)
    assert recorder.records == 1
    optimiser.param_groups[0]["lr"] = 0.1
    one_layer([1] * 2, graph, optimiser, layer)
    assert recorder.records == 2
    optimiser.load_state_dict(copy.deepcopy(optimiser.state_dict()))  # momentum in other memory
    one_layer([1] * 2, graph, optimiser, layer)
    assert recorder.records == 3


def test_a_batch_of_another_shape_is_never_copied_over_the_recorded_one():
    layer, optimiser = layer_and_optimiser()
    graph = StepGraph(2, StandIn([optimiser]))
    one_layer([1] * 5, graph, optimiser, layer)
    part = ({"x": torch.ones(1, 1)}, torch.ones(2))
    with graph.epoch(), pytest.raises(AssertionError):
        graph.step(type("Take", (), {"optimiser": optimiser, "network": layer})(), [2], iter([part]))


def test_only_a_gpu_takes_graphs(make_config, tree):
    config = make_config(tree)
    graphs = replace(config, train=replace(config.train, compile="graphs"))
    assert step_graph(graphs, torch.device("cpu")) is None
    assert step_graph(config, torch.device("cuda")) is None
    with pytest.raises(ValueError, match="compile"):
        replace(config.train, compile="graphs", processes=2)
    assert TrainConfig(config.train.optimiser).compile is False
