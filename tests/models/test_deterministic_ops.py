"""The list of operations that are not deterministic on CUDA, against torch, and the audit that looks for them."""

import functools
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from paper_networks import BERT, RESNET, SPECTROGRAM, config_of, write_store
from torch import nn

from bss.config.crop import Crop
from bss.config.training import AdamConfig, SgdConfig
from bss.data.store import Store
from bss.models.average_pool import AveragePool
from bss.models.deterministic_ops import Recorder, nondeterministic_operations
from bss.models.encoders import i3d
from bss.models.network import build_network, describe_network
from bss.models.nondeterministic import NONDETERMINISTIC
from bss.training.distributed.batch_norm import GlobalBatchNorm
from bss.training.evaluation import evaluate
from bss.training.measuring import measure
from bss.training.samples.split_data import SplitData
from bss.training.steps import make_optimiser, train_epoch

pytestmark = pytest.mark.filterwarnings("ignore:.*(deprecated|in beta)")

TINY = {"hidden": 16, "layers": 1, "heads": 2, "intermediate": 32, "features": 8}
ALL = {
    "audio": {"kind": "cnn", "channels": [4], "features": 8, "spectrogram": SPECTROGRAM | {"hop": 8}},
    "image": {"kind": "vit", "patch": 4, **TINY},
    "frames": {"kind": "clip-image", "patch": 4, **TINY},
    "clip": {"kind": "i3d", "features": 8},
    "flow": RESNET | {"features": 8},
    "text": BERT | {"features": 8},
}
OTHERS = {
    "audio": RESNET | {"depth": 50, "width": 1, "features": 8, "spectrogram": SPECTROGRAM},
    "image": {"kind": "cnn", "channels": [4], "features": 8},
    "frames": {"kind": "mlp", "hidden": [8], "features": 8},
    "flow": {"kind": "i3d", "features": 8},
    "text": {"kind": "clip-text", "vocabulary": 20, "positions": 8, **TINY},
}
"""All kinds of encoders, and features of one width."""
POOLED = {"image": RESNET, "frames": RESNET}
CLIPS = {"clip": {"kind": "i3d"}, "flow": {"kind": "i3d"}}
FUSIONS = [
    *({"kind": kind} for kind in ("concatenation", "sum", "weighted-sum", "film", "gated", "cosine")),
    {"kind": "ml-lstm", "hidden": 8},
    {"kind": "cross-attention", "heads": 2},
]
CASES = [(encoders, fusion) for fusion in FUSIONS for encoders in (ALL, OTHERS)]
CASES += [(encoders, {"kind": "channel-exchange"}) for encoders in (POOLED, CLIPS)]
IDS = [f"{fusion['kind']} of {len(encoders)}" for encoders, fusion in CASES]


def leaf(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0)).requires_grad_()


def upsampled(mode, *shape, **options):
    return F.interpolate(leaf(*shape), scale_factor=2, mode=mode, **options)


EXAMPLES = {
    "torch.nn.AvgPool3d": lambda: nn.AvgPool3d(2)(leaf(1, 2, 4, 4, 4)),
    "torch.nn.AdaptiveAvgPool2d": lambda: nn.AdaptiveAvgPool2d(2)(leaf(1, 2, 5, 5)),
    "torch.nn.AdaptiveAvgPool3d": lambda: nn.AdaptiveAvgPool3d(2)(leaf(1, 2, 5, 5, 5)),
    "torch.nn.AdaptiveMaxPool2d": lambda: nn.AdaptiveMaxPool2d(2)(leaf(1, 2, 5, 5)),
    "torch.nn.FractionalMaxPool2d": lambda: nn.FractionalMaxPool2d(2, output_ratio=0.5)(leaf(1, 2, 6, 6)),
    "torch.nn.FractionalMaxPool3d": lambda: nn.FractionalMaxPool3d(2, output_ratio=0.5)(leaf(1, 2, 6, 6, 6)),
    "torch.nn.MaxUnpool1d": lambda: nn.MaxUnpool1d(2)(leaf(1, 2, 3), torch.tensor([[[0, 2, 4]] * 2])),
    "torch.nn.MaxUnpool2d": lambda: nn.MaxUnpool2d(2)(leaf(1, 1, 1, 2), torch.tensor([[[[0, 2]]]])),
    "torch.nn.MaxUnpool3d": lambda: nn.MaxUnpool3d(2)(leaf(1, 1, 1, 1, 2), torch.tensor([[[[[0, 2]]]]])),
    "torch.nn.functional.interpolate": lambda: sum(
        x.sum()
        for x in (
            upsampled("linear", 1, 2, 3),
            upsampled("bilinear", 1, 2, 3, 3),
            upsampled("bicubic", 1, 2, 3, 3),
            upsampled("trilinear", 1, 2, 3, 3, 3),
            upsampled("bilinear", 1, 2, 3, 3, antialias=True),
            upsampled("bicubic", 1, 2, 3, 3, antialias=True),
        )
    ),
    "torch.nn.ReflectionPad1d": lambda: nn.ReflectionPad1d(1)(leaf(1, 2, 3)),
    "torch.nn.ReflectionPad2d": lambda: nn.ReflectionPad2d(1)(leaf(1, 2, 3, 3)),
    "torch.nn.ReflectionPad3d": lambda: nn.ReflectionPad3d(1)(leaf(1, 2, 3, 3, 3)),
    "torch.nn.NLLLoss": lambda: nn.NLLLoss()(leaf(2, 3, 4, 4), torch.zeros(2, 4, 4, dtype=torch.int64)),
    "torch.nn.CTCLoss": lambda: nn.CTCLoss()(
        leaf(8, 2, 5).log_softmax(2), torch.ones(2, 3, dtype=torch.int64), [8, 8], [3, 2]
    ),
    "torch.nn.EmbeddingBag": lambda: nn.EmbeddingBag(4, 3, mode="max")(torch.zeros(2, 2, dtype=torch.int64)),
    "torch.Tensor.put_": lambda: torch.zeros(4).put_(torch.tensor([1]), torch.ones(1)),
    "torch.histc": lambda: torch.histc(torch.ones(3), 2, 0, 2),
    "torch.bincount": lambda: torch.bincount(torch.tensor([1, 1]), torch.ones(2)),
    "torch.median": lambda: torch.ones(3).median(0).values,
    "torch.nn.functional.grid_sample": lambda: (
        F.grid_sample(leaf(1, 1, 3, 3), torch.zeros(1, 2, 2, 2), align_corners=False).sum()
        + F.grid_sample(leaf(1, 1, 3, 3, 3), torch.zeros(1, 2, 2, 2, 3), align_corners=False).sum()
    ),
    "torch.cumsum": lambda: leaf(3).cumsum(0),
    "torch.Tensor.scatter_reduce": lambda: torch.ones(3).scatter_reduce(0, torch.tensor([1]), torch.ones(1), "prod"),
    "torch.Tensor.resize_": lambda: torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.quint8).resize_(2),
    "kthvalue": lambda: torch.ones(3).kthvalue(1).values,
    "index_reduce": lambda: torch.ones(3).index_reduce(0, torch.tensor([1]), torch.ones(1), "amax"),
}
"""Of each entry of the list, by its name in torch's documentation."""

DETERMINISTIC = {
    "a mean over the whole map": lambda: nn.AdaptiveAvgPool2d(1)(leaf(1, 2, 5, 5)),
    "pooling to equal parts": lambda: F.avg_pool2d(leaf(1, 2, 4, 4), 2),
    "a maximum": lambda: F.max_pool2d(leaf(1, 2, 4, 4), 3, 2, 1),
    "classes per sample": lambda: F.nll_loss(leaf(2, 3), torch.tensor([0, 1])),
    "no reduction": lambda: F.nll_loss(leaf(2, 3, 4, 4), torch.zeros(2, 4, 4, dtype=torch.int64), reduction="none"),
    "the nearest pixel": lambda: upsampled("nearest", 1, 2, 3, 3),
    "a mean of embeddings": lambda: nn.EmbeddingBag(4, 3, mode="mean")(torch.zeros(2, 2, dtype=torch.int64)),
    "whole numbers": lambda: torch.tensor([1, 2]).cumsum(0).float(),
    "counts": lambda: torch.bincount(torch.tensor([1, 1])).float(),
    "no indices": lambda: torch.ones(3).median(),
    "another reduction": lambda: torch.ones(3).scatter_reduce(0, torch.tensor([1]), torch.ones(1), "sum"),
    "gathered cells": lambda: AveragePool((5, 5), (2, 2))(leaf(1, 2, 5, 5)),
}


def recorded(run):
    with Recorder() as recorder:
        result = run()
        if result.requires_grad:
            result.sum().backward()
    return recorder


DOCUMENTED = [name for entry in NONDETERMINISTIC for name in entry.documented]


def test_the_list_is_that_of_the_documentation_of_the_installed_torch():
    documentation = torch.use_deterministic_algorithms.__doc__
    beginning, end = (documentation.rindex(text) for text in ("operations will throw a", "In addition, several"))
    named = re.findall(r"^ +\* :(?:class|func):`([\w.]+)`", documentation[beginning:end], re.MULTILINE)
    assert set(DOCUMENTED) == set(named)
    assert torch.__version__.startswith("2.13."), "compare the list with the kernels' source too"


@pytest.mark.parametrize("name", [*DOCUMENTED, "kthvalue", "index_reduce"])
def test_an_example_of_each_entry_is_found_and_no_other_one(name):
    (entry,) = set(recorded(EXAMPLES[name]).found.values())
    assert name in (entry.documented or entry.operators)


def test_all_modes_of_interpolation_are_found():
    (entry,) = (e for e in NONDETERMINISTIC if "torch.nn.functional.interpolate" in e.documented)
    assert set(recorded(EXAMPLES["torch.nn.functional.interpolate"]).found) == set(entry.operators)


@pytest.mark.parametrize("name", DETERMINISTIC)
def test_what_is_deterministic_is_not_found(name):
    assert not recorded(DETERMINISTIC[name]).found


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    names = ["audio", "image", "frames", "clip", "flow", "text"]
    return Store.open(write_store(tmp_path_factory.mktemp("kinds") / "store", names))


def build(store, encoders, fusion, precision="fp32"):
    """Return a network whose encoders of pictures see random parts of them."""
    network = config_of(store.path, {"encoders": encoders, "fusion": fusion}).network
    crops = {
        name: replace(encoder, crop=Crop(12, 12, frames=None if name in ("image", "frames") else 3))
        for name, encoder in network.encoders.items()
        if hasattr(encoder, "crop") and name != "audio"
    }
    description = describe_network(replace(network, encoders=network.encoders | crops), store)
    description["modalities"] = {name: m for name, m in description["modalities"].items() if name in encoders}
    built = build_network(description)
    built.precision = precision
    return built


class OnlySome:
    """A store's view on some of its modalities."""

    def __init__(self, store, names):
        self._store = store
        self.modalities = {name: store.modalities[name] for name in names}

    def __getattr__(self, name):
        return getattr(self._store, name)


def names_of_graph(tensor):
    """Return the names of the nodes of the graph that autograd would walk from `tensor`."""
    seen, left = set(), [tensor.grad_fn]
    while left:
        node = left.pop()
        if node is not None and node not in seen:
            seen.add(node)
            left += [following for following, _ in node.next_functions]
    return {node.name() for node in seen}


@functools.cache
def names_of_nondeterministic_gradients():
    """Return them as torch has them: of the examples, without the simple operations around them."""
    around = names_of_graph(leaf(2, 2).log_softmax(1).unsqueeze(0).squeeze(0).mean() + (leaf(1) / 2).sum())
    results = [run() for name, run in EXAMPLES.items() if name != "torch.Tensor.resize_"]
    return set().union(*(names_of_graph(x) for x in results if x.requires_grad)) - around


@pytest.fixture(autouse=True)
def torch_raises_nothing_itself():
    """A trial of an earlier test in this process has left torch's own mode at "error"."""
    before = torch.get_deterministic_debug_mode()
    torch.set_deterministic_debug_mode("default")
    yield
    torch.set_deterministic_debug_mode(before)


@pytest.fixture(autouse=True)
def narrow_i3d(monkeypatch):
    """The same layers with fewer channels, which take less time."""
    for name in ("MIXED_3", "MIXED_4", "MIXED_5"):
        blocks = getattr(i3d, name)
        monkeypatch.setattr(i3d, name, tuple(tuple(width // 16 for width in block) for block in blocks))


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize(("encoders", "fusion"), CASES, ids=IDS)
def test_a_step_of_every_encoder_and_fusion_is_deterministic_on_a_gpu(store, encoders, fusion, precision, monkeypatch):
    network = build(store, encoders, fusion, precision)
    some = OnlySome(store, encoders)
    assert nondeterministic_operations(network, some.modalities) == []
    data = SplitData(some, "train", network, torch.device("cpu"))
    config = SgdConfig("sgd", 0.01, 0.9) if precision == "fp32" else AdamConfig("adam", 0.01)
    nodes = set()

    def watched_loss(outputs, labels, compute=network.loss):
        loss, penalty = compute(outputs, labels), network.fusion.penalty()
        nodes.update(names_of_graph(loss.sum() if penalty is None else loss.sum() + penalty))
        return loss

    monkeypatch.setattr(network, "loss", watched_loss)
    with Recorder() as recorder:
        optimiser = make_optimiser(network, config)
        train_epoch(network, optimiser, data, [np.arange(6)], seed=0, epoch=0, accumulate=2)
    assert recorder.found == {}
    assert "ConvolutionBackward0" in nodes or "AddmmBackward0" in nodes
    assert nodes & names_of_nondeterministic_gradients() == set()
    # What is seen here is what a GPU does: nothing that was dispatched exists for CPUs alone.
    assert not [name for name in recorder.calls if "cpu" in name or "mkldnn" in name]
    assert {"_fused_sgd_" if precision == "fp32" else "_fused_adam_"} < set(recorder.calls)


def test_the_gradients_by_which_graphs_are_searched_are_those_of_the_list():
    assert {"AdaptiveAvgPool2DBackward0", "AvgPool3DBackward0", "NllLoss2DBackward0", "CumsumBackward0"} < (
        names_of_nondeterministic_gradients()
    )


@pytest.mark.slow
def test_the_adaptive_pooling_of_torch_is_found_where_it_is_put_back(store):
    network = build(store, ALL, {"kind": "sum"})
    (place,) = (i for i, layer in enumerate(network.encoders["audio"].layers) if isinstance(layer, AveragePool))
    network.encoders["audio"].layers[place] = nn.AdaptiveAvgPool2d((4, 4))
    (finding,) = nondeterministic_operations(network, store.modalities)
    expected = "network.encoders.audio: _adaptive_avg_pool2d_backward (torch.nn.AdaptiveAvgPool2d)"
    assert str(finding) == expected
    data = SplitData(store, "train", network, torch.device("cpu"))
    with Recorder() as recorder:
        optimiser = make_optimiser(network, SgdConfig("sgd", 0.01))
        train_epoch(network, optimiser, data, [np.arange(4)], seed=0, epoch=0)
    assert list(recorder.found) == ["_adaptive_avg_pool2d_backward"]


def test_a_fusion_and_a_transform_are_looked_at_too(store):
    class Sorting(nn.Module):
        def forward(self, x):
            return x.cumsum(dim=1)

    network = build(store, ALL, {"kind": "sum"})
    network.fusion.head = nn.Sequential(network.fusion.head, Sorting())
    network.transforms["image"] = nn.Sequential(network.transforms["image"], Sorting())
    findings = nondeterministic_operations(network, store.modalities)
    assert [(f.part, f.operator) for f in findings] == [
        ("network.encoders.image", "cumsum"),
        ("network.fusion", "cumsum"),
    ]


def test_the_audit_changes_nothing_and_computes_nothing(store):
    network = build(store, ALL, {"kind": "gated"})
    before = {name: value.clone() for name, value in network.state_dict().items()}
    nondeterministic_operations(network, store.modalities)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(p.grad is None for p in network.parameters())
    assert {p.device.type for p in network.parameters()} == {"cpu"}


def test_measuring_and_evaluation_are_deterministic_on_a_gpu(store):
    network = build(store, ALL, {"kind": "cross-attention", "heads": 2})
    data = SplitData(store, "val", network, torch.device("cpu"))
    criteria = ("training_loss", "prediction_similarity", "logit_similarity", "feature_similarity")
    with Recorder() as recorder:
        evaluate(network, data, "val")
        measure(network, data, (*criteria, "gradient_magnitude"))
    assert recorder.found == {}
    assert "convolution_backward" in recorder.calls  # of the gradient of each sample


def test_batch_normalisation_over_ranks_is_deterministic_on_a_gpu(monkeypatch):
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda tensor: None)
    with Recorder() as recorder:
        GlobalBatchNorm(3)(leaf(4, 3, 5, 5)).square().sum().backward()
    assert recorder.found == {}
    assert "sum" in recorder.calls
