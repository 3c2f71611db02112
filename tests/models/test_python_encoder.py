"""Encoders of kind `python`: the module of your own code, its source's digest, and every way it can be wrong."""

import re
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

import bss
from bss.balance.criteria import gradient_magnitude
from bss.config.encoders import MlpConfig
from bss.config.own_encoders import PythonConfig
from bss.config.schema import NetworkConfig
from bss.config.training import SgdConfig
from bss.data.store import Modality
from bss.errors import BssError
from bss.models.deterministic_ops import nondeterministic_operations
from bss.models.encoders.build import build_encoder
from bss.models.network import MultiModalNetwork, build_network, describe_network
from bss.models.pretrained import digest_weights
from bss.training.check_encoders import check_encoders, require_shareable
from bss.training.share_probe import require_independent
from bss.training.steps import make_optimiser
from tests.models.own_modules import write_modules

KEY = "params.yaml: network.encoders.thing"
IMAGE = Modality("image", (1, 6, 6), "uint8")


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    """A project's folder with the package ``own``, as the current folder."""
    write_modules(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    for name in [name for name in sys.modules if name == "own" or name.startswith("own.")]:
        del sys.modules[name]


def config_of(factory="own.nets:net", width=5, **keys):
    keys.setdefault("arguments", {"inputs": 36} if factory == "own.nets:net" else {})
    return PythonConfig("python", factory, width, **keys)


def network_of(encoder, modality=IMAGE):
    modalities = {"thing": modality, "other": Modality("features", (3,), "float32")}
    config = NetworkConfig({"thing": encoder, "other": MlpConfig("mlp")})
    store = SimpleNamespace(classes=("cat", "dog"), modalities=modalities)
    return config, build_network(describe_network(config, store), 0)


def build(config, *shape):
    torch.manual_seed(0)
    return build_encoder(config, torch.zeros(shape or (1, 6, 6)), "thing")


def test_the_features_are_those_of_the_module_called_directly():
    encoder = build(config_of())
    from own.nets import net

    torch.manual_seed(0)
    plain = net(36)
    inputs = torch.randn(4, 1, 6, 6)
    assert torch.equal(encoder(inputs), plain(inputs))
    assert encoder.width == 5
    assert not encoder.linear


def test_the_module_of_the_page_fits_the_parameters_of_the_page(project):
    page = (Path(bss.__file__).parents[1] / "docs" / "networks.md").read_text(encoding="utf-8")
    (text,) = re.findall(r'```python\n("""Small networks.*?)```', page, flags=re.S)
    assert "image: {kind: python, factory: mynets.small:net, arguments: {depth: 4}, width: 128}" in page
    (project / "mynets").mkdir()
    (project / "mynets" / "small.py").write_text(text, encoding="utf-8")
    encoder = build(config_of("mynets.small:net", 128, arguments={"depth": 4}), 3, 16, 16)
    assert encoder(torch.randn(2, 3, 16, 16)).shape == (2, 128)


def test_a_linear_layer_follows_if_features_are_asked_for():
    encoder = build(config_of(features=3))
    inputs = torch.randn(4, 1, 6, 6)
    assert torch.equal(encoder(inputs), encoder.projection(encoder.model(inputs)))
    assert (encoder.activate(encoder(inputs)) >= 0).all()


@pytest.mark.parametrize(
    ("modality", "keys", "inputs", "lowest", "highest"),
    [
        (Modality("audio", (8,), "float32", 8000, "pad"), {}, (8,), -1, 1),
        (IMAGE, {}, (1, 6, 6), 0, 1),
        (IMAGE, {"normalisation": "half"}, (1, 6, 6), -1, 1),
        (Modality("text", (8,), "int32", None, None, 30, 31), {}, (8,), 0, 30),
    ],
)
def test_it_gets_its_inputs_by_the_kind_of_the_modality(modality, keys, inputs, lowest, highest):
    count = 8 if inputs == (8,) else 36
    _, network = network_of(config_of(arguments={"inputs": count}, **keys), modality)
    lowest_stored = {"image": 0, "audio": -1, "text": 0}[modality.kind]
    highest_stored = {"image": 255, "audio": 1, "text": 30}[modality.kind]
    dtype = getattr(torch, modality.dtype)
    for stored, found in ((lowest_stored, lowest), (highest_stored, highest)):
        seen = network.transform_one("thing", torch.full((2, *modality.shape), stored, dtype=dtype))
        assert seen.shape == (2, *inputs)
        assert torch.equal(seen.float(), torch.full((2, *inputs), float(found)))
        assert seen.dtype == (torch.int64 if modality.kind == "text" else torch.float32)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (config_of("own.missing:net"), ".factory: own.missing:net: there is no module own.missing in "),
        (config_of("nowhere:net"), ".factory: nowhere:net: there is no module nowhere in "),
        (config_of("own.nets:absent"), ".factory: own.nets:absent: the module own.nets has no `absent`."),
        (config_of("own.sizes:WIDTH"), ".factory: own.sizes:WIDTH: is of type int, not a function that returns a mod"),
        (config_of("own.nets:convolution"), "has no `convolution`. Is it `convolutions`?"),
        (
            config_of("own.nets:a_class"),
            ".factory: own.nets:a_class returns the class Net; it must return a torch.nn.M",
        ),
        (config_of("own.nets:fails"), ".factory: own.nets:fails() raises ValueError: no such size"),
        (config_of("own.nets:leaves"), ".factory: own.nets:leaves() raises SystemExit: 2"),
        (
            config_of("own.nets:no_module"),
            ".factory: own.nets:no_module returns str; it must return a torch",
        ),
        (config_of(width=6), ".width: 6, but own.nets:net returns 5 numbers per sample."),
        (config_of(arguments={"inputs": 35}), ".factory: own.nets:net: cannot take inputs of shape [2, 1, 6, 6]"),
        (config_of("own.nets:wrong", arguments={"how": "tuple"}), ".factory: own.nets:wrong: returns tuple; it must"),
        (config_of("own.nets:wrong", arguments={"how": "map"}), "returns float32 [2, 5, 1] for a batch of 2; it must"),
        (config_of("own.nets:wrong", arguments={"how": "sum"}), "returns float32 [] for a batch of 2; it must"),
        (
            config_of("own.nets:wrong", arguments={"how": "double"}),
            "returns float64 [2, 5] for a batch of 2; it must r",
        ),
        (config_of(arguments={"size": 3}), ".factory: own.nets:net(size) raises TypeError: "),
    ],
)
def test_what_is_wrong_is_one_message_that_names_the_key(config, message):
    with pytest.raises(BssError) as caught:
        build(config)
    assert str(caught.value).startswith(KEY)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_module_that_cannot_be_imported_is_named_with_the_reason(project):
    (project / "own" / "broken.py").write_text("import torch\nraise RuntimeError('half done')\n", encoding="utf-8")
    with pytest.raises(BssError, match=r"own\.broken:f: cannot be imported \(RuntimeError: half done\)"):
        build(config_of("own.broken:f"))
    (project / "own" / "script.py").write_text("import sys\nsys.exit(2)\n", encoding="utf-8")
    with pytest.raises(BssError, match=r"own\.script:f: cannot be imported \(SystemExit: 2\)"):
        build(config_of("own.script:f"))
    (project / "own" / "needs.py").write_text("import package_that_is_absent\n", encoding="utf-8")
    with pytest.raises(BssError, match=r"own\.needs imports package_that_is_absent, which is not installed"):
        build(config_of("own.needs:f"))


def test_the_digest_changes_with_the_source_it_imports_and_with_nothing_else(project):
    config, _ = network_of(config_of())
    before = digest_weights(config)
    assert set(before) == {"source_thing"}
    (project / "own" / "unused.py").write_text("OTHER = 2\n", encoding="utf-8")
    assert digest_weights(config) == before
    for file in ("nets.py", "parts.py", "sizes.py", "__init__.py"):
        path = project / "own" / file
        kept = path.read_text(encoding="utf-8")
        path.write_text(kept + "\n# changed\n", encoding="utf-8")
        assert digest_weights(config) != before, file
        path.write_text(kept, encoding="utf-8")
        assert digest_weights(config) == before


def test_the_digest_of_an_installed_package_is_that_of_its_own_files():
    config, _ = network_of(config_of())
    installed = NetworkConfig({**config.encoders, "thing": config_of("packaging.version:Version")})
    assert len(digest_weights(installed)["source_thing"]) == 64
    with pytest.raises(BssError, match=r"network\.encoders\.thing\.factory: nowhere:net: there is no module nowhere"):
        digest_weights(NetworkConfig({**config.encoders, "thing": config_of("nowhere:net")}))


def test_parameters_without_a_gradient_are_frozen_so_that_ranks_do_not_wait_for_them():
    encoder = build(config_of(arguments={"inputs": 36, "spare": True}))
    frozen = [name for name, p in encoder.named_parameters() if not p.requires_grad]
    assert frozen == ["model.spare.weight", "model.spare.bias"]
    assert all(p.grad is None for p in encoder.parameters())


def test_trying_the_module_leaves_its_statistics_and_an_empty_share_is_fine():
    encoder = build(config_of("own.nets:convolutions", 16))
    assert encoder.model[1].num_batches_tracked == 0
    assert torch.equal(encoder.model[1].running_mean, torch.zeros(4))
    plain = build(config_of())
    features = plain(torch.zeros(0, 1, 6, 6))
    assert features.shape == (0, 5)
    features.sum().backward()
    assert all(p.grad is not None and not p.grad.any() for p in plain.parameters())


@pytest.mark.parametrize("norm", ["no affine", "synchronised", "dropped"])
def test_batch_normalisation_and_dropout_that_ranks_cannot_share_are_named(norm):
    require_shareable(build(config_of("own.nets:convolutions", 16)), KEY)
    encoder = build_without_probe(norm)
    why = "; its random draws cannot be reproduced" if norm == "dropped" else " that several processes cannot share"
    with pytest.raises(BssError, match=r"network\.encoders\.thing: 1 is a \w+" + why):
        require_shareable(encoder, KEY)


@pytest.mark.parametrize(
    ("known", "message"),
    [
        (30, None),
        (29, r"cannot encode the token id 29, the largest of the store: \w+: \w"),
        (3, r"cannot encode the samples 'a' and 'b': \w+: \w"),
    ],
)
def test_stored_texts_that_the_module_cannot_encode_are_one_message(known, message):
    text = Modality("text", (2,), "int32", None, None, 29, 30)
    config, network = network_of(config_of("own.nets:tokens", arguments={"known": known}), text)
    store = SimpleNamespace(
        modalities={"thing": text},
        ids=np.array(["a", "b"]),
        rows=lambda split: np.arange(2),
        read=lambda name, rows: np.full((2, 2), 7, np.int32),
    )
    whole = SimpleNamespace(network=config, train=SimpleNamespace(nodes=1, processes=1))
    if message is None:
        check_encoders(network, whole, store)
        return
    with pytest.raises(BssError, match=rf"network\.encoders\.thing: {message}"):
        check_encoders(network, whole, store)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("centred", "its part 3 returns other numbers for a sample if others are in the batch"),
        ("drawn", "its part 3 draws random numbers of its own, which cannot be reproduced across processes"),
        ("drawn a little", "its part 3 draws random numbers of its own"),
        ("drawn seldom", "the module draws random numbers of its own"),
        ("followed", r"its buffer 3\.usual follows the samples in the batch"),
    ],
)
def test_statistics_and_draws_of_its_own_that_ranks_cannot_share_are_named(how, message):
    encoder = build(config_of("own.nets:shared", arguments={"how": how}))
    with pytest.raises(BssError, match=rf"network\.encoders\.thing: {message}"):
        require_independent(encoder.model, torch.randn(4, 1, 6, 6), KEY)


def test_a_module_whose_parts_have_no_row_per_sample_can_be_shared():
    class Trimmed(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.cut, self.scale, self.positions = Cut(), Constant(torch.ones(())), Constant(torch.ones(5))

        def forward(self, x):
            x = self.cut(x.flatten(1)) * self.scale(x)
            return x.sum(dim=1, keepdim=True) + self.positions(x)

    class Constant(torch.nn.Module):
        def __init__(self, value):
            super().__init__()
            self.value = value

        def forward(self, x):
            return self.value

    class Cut(torch.nn.Module):  # to the longest of the batch, as texts are
        def forward(self, x):
            return x[:, : int((x != 0).sum(dim=1).max())]

    inputs = torch.zeros(4, 1, 6, 6)
    for i in range(4):
        inputs[i].view(-1)[: 3 * i + 1] = 1.0
    require_independent(Trimmed(), inputs, KEY)


@pytest.mark.parametrize("how", ["plain", "dropped"])
def test_batch_normalisation_and_dropout_of_torch_can_be_shared_and_trying_it_leaves_no_trace(how):
    encoder = build(config_of("own.nets:shared", arguments={"how": how}))
    before = torch.get_rng_state()
    require_independent(encoder.model, torch.randn(4, 1, 6, 6, generator=torch.Generator()), KEY)
    assert torch.equal(torch.get_rng_state(), before)
    assert encoder.model[2].num_batches_tracked == 0
    assert all(module.training and not module._forward_hooks for module in encoder.model.modules())


def build_without_probe(norm):
    from own.nets import convolutions

    return convolutions(norm)


def test_an_operation_without_a_deterministic_kernel_is_named_with_its_encoder():
    _, network = network_of(config_of("own.nets:convolutions", 16))
    (finding,) = nondeterministic_operations(network, {"thing": IMAGE, "other": Modality("features", (3,), "float32")})
    assert str(finding).startswith("network.encoders.thing: _adaptive_avg_pool2d_backward")


def test_per_sample_gradients_are_those_of_a_backward_pass():
    encoder = build(config_of()).eval()
    inputs, labels = torch.randn(3, 1, 6, 6), torch.tensor([0, 1, 1])

    def sample_loss(call, one, label):
        return nn.functional.cross_entropy(call(one["thing"]), label)

    found = gradient_magnitude(encoder, sample_loss, {"thing": inputs}, labels)
    for i in range(3):
        encoder.zero_grad()
        nn.functional.cross_entropy(encoder(inputs[i : i + 1]), labels[i : i + 1]).backward()
        norm = torch.stack([p.grad.square().sum() for p in encoder.parameters()]).sum().sqrt()
        torch.testing.assert_close(found[i], norm)


def test_a_learning_rate_of_its_own_moves_its_parameters_and_no_other():
    _, network = network_of(config_of(features=3, learning_rate=0.5))
    optimiser = make_optimiser(network, SgdConfig("sgd", 0.1, 0.0))
    assert isinstance(network, MultiModalNetwork)
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    for p in network.parameters():
        p.grad = torch.ones_like(p)
    optimiser.step()
    for name, p in network.named_parameters():
        rate = 0.5 if name.startswith("encoders.thing.model.") else 0.1
        assert torch.equal(p, before[name] - rate), name
    assert sorted((group["lr"], group["factor"]) for group in optimiser.param_groups) == [(0.1, 1.0), (0.5, 5.0)]
