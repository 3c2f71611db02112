"""Vectors of two or more modalities, a small network without batch normalisation, and its training with a strategy."""

import copy
import threading

import numpy as np
import torch

from bss.config.encoders import MlpConfig
from bss.config.fusion import Concatenation
from bss.config.heads import HeadsConfig
from bss.config.schema import NetworkConfig
from bss.config.training import SgdConfig, TrainConfig
from bss.data.store import Modality
from bss.models.inputs.to_device import moved, to_device
from bss.models.network import MultiModalNetwork
from bss.strategies import Context, EpochPlan, Facts, Seen, Setting
from bss.strategies.hooks import PROBED
from bss.strategies.mses import Mses
from bss.training.distributed.ranks import ALONE, Ranks
from bss.training.network_parts import parameter_groups
from bss.training.predicting import predict_and_read
from bss.training.sequences import split_into_batches
from bss.training.steps import make_optimiser, train_epoch
from bss.training.strategy.head_facts import drawn_batch, drawn_share, read_columns, read_facts
from bss.training.strategy.probes import read_probes, train_probes
from bss.training.strategy.run import StrategyRun
from bss.training.targets import PLAIN

torch.set_num_threads(1)  # as a trial does

WRONG = {"samples": 120, "wrong": range(0, 120, 5), "clear": (4.0, 4.0)}

WIDTH, CLASSES, SAMPLES, EPOCHS = 5, 3, 22, 4
TWO = ("audio", "video")
CPU = torch.device("cpu")
SGD = SgdConfig("sgd", learning_rate=0.1, momentum=0.5, weight_decay=0.01)


class Toy:
    """The part of `SplitData` that a trial uses; the first modality shows the class more clearly than the others."""

    device = torch.device("cpu")
    sample_bytes = 4 * WIDTH

    def __init__(self, names, samples=SAMPLES, wrong=(), clear=(2.0, 0.7)):
        """`wrong` samples have the first modality of another class; `clear`: how clear is the first, and the others."""
        random = torch.Generator().manual_seed(3)
        self.labels = torch.arange(samples) % CLASSES
        strengths = [clear[0], *[clear[1]] * (len(names) - 1)]
        self.inputs = {}
        for name, strength in zip(names, strengths, strict=True):
            noise = torch.randn(samples, WIDTH, generator=random)
            shown = self.labels.clone()
            if name == names[0]:
                shown[list(wrong)] = (shown[list(wrong)] + 1) % CLASSES
            self.inputs[name] = noise + strength * torch.eye(WIDTH)[shown]

    def __len__(self):
        return len(self.labels)

    def to(self, device):
        """Return the same data on a device."""
        other = copy.copy(self)
        other.device = torch.device(device)
        other.labels, other.inputs = self.labels.to(device), moved(self.inputs, other.device)
        return other

    def batches(self, indices, augmentation=None):
        for index in indices:
            where = to_device(self.device, np.asarray(index))
            yield {name: x[where] for name, x in self.inputs.items()}, self.labels[where]


def contradicting(data):
    """Return the same inputs with other labels, on which the loss rises from the start."""
    other = copy.copy(data)
    other.labels = (data.labels + 1) % CLASSES
    return other


def mislabelled(data):
    """Return the same inputs with labels that have nothing to do with them, so that no cluster is pure."""
    other = copy.copy(data)
    other.labels = torch.arange(len(data)) // 8 % CLASSES
    return other


def make_network(names, fusion=None, **changes):
    """Return a network of `names`, the same weights for the same number of them."""
    encoders = {name: MlpConfig("mlp", hidden=(6,), features=4) for name in names}
    config = NetworkConfig(encoders, fusion or Concatenation(), **changes)
    modalities = {name: Modality("features", (WIDTH,), "float32") for name in names}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        network = MultiModalNetwork(config, modalities, CLASSES)
    for encoder in network.encoders.values():
        for name, layer in encoder.layers.named_children():
            if isinstance(layer, torch.nn.BatchNorm1d):
                setattr(encoder.layers, name, torch.nn.Identity())
    return network


def network_for(strategy, names, fusion=None):
    """Return the network of `make_network` with the heads that `strategy` wants, as a trial has it."""
    changes = dict(strategy.network(setting_for(make_network(names, fusion))))
    return make_network(names, fusion, **changes | {"heads": HeadsConfig(**changes.get("heads", {}))})


def read_of(network, data, chosen=None):
    """Return what the pass that evaluates `data` reads of the samples `chosen`; None: of all."""
    return predict_and_read(network, data, np.arange(len(data)) if chosen is None else chosen)[2]


def setting_for(network, epochs=EPOCHS):
    weights = network.config.loss_weights
    kind = network.config.fusion.kind
    return Setting(tuple(network.heads), kind, "sgd", epochs, weights.fused, weights.unimodal, batch_size=8)


def start(strategy, network, ranks=ALONE, epochs=EPOCHS, data=None, targets=PLAIN):
    setting = setting_for(network, epochs)
    strategy.check(setting)
    teachers = teachers_of(network) if strategy.taught else None
    labels = (Toy(setting.modalities) if data is None else data).labels.cpu().numpy()
    return StrategyRun(strategy, setting, network, ranks, 0, teachers, labels, targets)


def teachers_of(network):
    """Return teachers that are not trained: the network with half its weights."""
    teachers = copy.deepcopy(network).eval().requires_grad_(False)
    for p in teachers.parameters():
        p.mul_(0.5)
    return teachers


def facts_of(run, splits):
    """Return what reads the facts of a split."""

    def facts(split):
        if split == "teachers":
            return read_facts(run.teachers, splits["train"], run.ranks)
        if split.startswith(PROBED):
            config = TrainConfig(SGD, epochs=EPOCHS, batch_size=8)
            probes = train_probes(run, config, splits["train"], run.strategy.probe_length)
            return read_probes(probes, splits[split.removeprefix(PROBED)], run.ranks)
        averaging = run.strategy.averaging
        chosen = drawn_share(len(splits[split]), averaging or 1.0, run.seed, run.context.epoch)
        return read_facts(run.network, splits[split], run.ranks, run.strategy.clustered, averaging > 0, chosen)

    return facts


def batch_of(run, splits):
    """Return what draws a batch of a split."""
    return lambda split: drawn_batch(run.network, splits[split], 8, (0, split, run.context.epoch))[0]


def train(
    strategy,
    network,
    data,
    ranks=ALONE,
    accumulate=1,
    batch_size=8,
    epochs=EPOCHS,
    observe=None,
    optimiser=SGD,
    after_epoch=None,
    **steps,
):
    """Train; return the run, whose context has the state. `strategy` None: plain; `steps` go to `train_epoch`."""
    targets = steps.get("targets", PLAIN)
    run = None if strategy is None else start(strategy, network, ranks, epochs, data, targets)
    made = make_optimiser(network, optimiser, None if run is None else parameter_groups(network))
    for epoch in range(epochs):
        if run is not None:
            val = contradicting(data) if isinstance(strategy, Mses) else data
            splits = {"train": data, "val": mislabelled(data) if strategy.clustered else val}
            run.begin_epoch(epoch, facts_of(run, splits))
            run.adapt(batch_of(run, splits))
            run.forget(made)
            for group in made.param_groups:
                group["lr"] = optimiser.learning_rate * run.rate(group)
        sequence = np.random.default_rng(epoch).permutation(len(data))
        if run is not None:
            run.arrange(sequence, lambda measure: read_columns(network, data, measure, ranks))
            sequence = run.shown(sequence)
        batches = split_into_batches(sequence, batch_size)
        settings = {"seed": 0, "epoch": epoch, "accumulate": accumulate, "strategy": run, **steps}
        train_epoch(network, made, data, batches, observe, None, ranks, **settings)
        if after_epoch is not None:
            after_epoch()
    return run


class Together:
    """Sums tensors of ranks that are threads."""

    def __init__(self, count):
        self.barrier, self.given = threading.Barrier(count, timeout=60), [None] * count

    def add(self, rank, tensor):
        self.given[rank] = tensor.clone()
        self.barrier.wait()
        total = torch.stack(self.given).sum(dim=0)
        self.barrier.wait()
        tensor.copy_(total)


def ranks_of(count):
    """Return ranks that work in threads of this process."""
    together = Together(count)

    class Threaded(Ranks):
        def add(self, tensor):
            together.add(self.rank, tensor)

    return [Threaded(rank, count) for rank in range(count)]


def toy_for(strategy, names, **changes):
    """Return data on which `strategy` acts."""
    return Toy(names, **WRONG if strategy is not None and strategy.kind == "repair" else {}, **changes)


def train_on_ranks(strategy, names, count, **changes):
    """Train in `count` threads; return each one's network and run."""
    found, errors = [None] * count, []
    networks = [network_for(strategy, names) for _ in range(count)]  # here: threads share torch's generator

    def work(ranks):
        try:
            network = networks[ranks.rank]
            found[ranks.rank] = (network, train(strategy, network, toy_for(strategy, names), ranks, **changes))
        except BaseException as error:
            errors.append(error)
            raise

    threads = [threading.Thread(target=work, args=(ranks,)) for ranks in ranks_of(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    return found


def renamed(network, names, fusion=None):
    """Return the same network with other names for its modalities, given as {old: new} in the new order."""
    other = make_network(list(names.values()), fusion, heads=network.config.heads)
    for old, new in names.items():
        other.encoders[new].load_state_dict(network.encoders[old].state_dict())
        other.heads[new].load_state_dict(network.heads[old].state_dict())
    other.fusion.head.load_state_dict(network.fusion.head.state_dict())
    return other


def log(*values):
    return torch.tensor([values]).log()


def seen_of(network, data, rows=range(9)):
    """Return what a strategy sees of some samples."""
    inputs, labels = next(data.batches([list(rows)]))
    outputs = network(inputs)
    return Seen(network.activate(outputs.features), outputs.logits, outputs.fused, labels, network.fuse)


def context_of(strategy, network, state=None, epoch=0, epochs=4):
    setting = setting_for(network, epochs)
    return Context(setting, state or {}, epoch, EpochPlan(), strategy.weights(setting), torch.clone)


def facts(loss=None, accuracy=None, confidence=None):
    zeros = dict.fromkeys(TWO, 0.0)
    return Facts(loss or zeros, 0.0, accuracy or zeros, confidence or zeros)
