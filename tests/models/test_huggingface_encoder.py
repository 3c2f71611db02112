"""Encoders of kind `huggingface`: features equal those of transformers called directly, and what is trained."""

import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import transformers as hf

from bss.balance.criteria import gradient_magnitude
from bss.config import config_from_tree
from bss.config.encoders import MlpConfig
from bss.config.own_encoders import HuggingfaceConfig, Lora
from bss.config.schema import NetworkConfig
from bss.config.training import SgdConfig
from bss.data.store import Modality
from bss.errors import BssError
from bss.models.deterministic_ops import nondeterministic_operations
from bss.models.network import build_network, describe_network
from bss.models.pretrained import load_pretrained
from bss.training.steps import make_optimiser
from tests.models.small_models import MODELS, save_model, stored_samples

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """The saved models: name to folder and model."""
    saved = {}
    for name in MODELS:
        folder = tmp_path_factory.mktemp("model")
        saved[name] = folder, save_model(name, folder)
    return saved


def config_of(models, name, **keys):
    thing = HuggingfaceConfig("huggingface", str(models[name][0]), **keys)
    return NetworkConfig({"thing": thing, "other": MlpConfig("mlp")})


def modalities_of(name):
    return {"thing": MODELS[name][1], "other": Modality("features", (3,), "float32")}


def network_of(models, name, **keys):
    config = config_of(models, name, **keys)
    store = SimpleNamespace(classes=("cat", "dog"), modalities=modalities_of(name))
    network = build_network(describe_network(config, store), 1)
    load_pretrained(network, config)
    return network


def directly(name, model, stored, pooling):
    """Features by transformers alone, as its documentation shows, from stored samples."""
    kind = MODELS[name][1].kind
    with torch.no_grad():
        if kind == "text":
            mask = (stored != 0).long()
            text = model.text_model if name == "clip-text" else model
            outputs = text(input_ids=stored.long(), attention_mask=mask)
        elif kind == "audio":
            extractor = MODELS[name][2]()
            inputs = extractor([x.numpy() for x in stored], sampling_rate=16000, return_tensors="pt")
            called = model.get_encoder() if name == "whisper" else model
            outputs = called(next(iter(inputs.values())))
        else:
            mean, deviation = (torch.tensor(MODELS[name][2][k])[:, None, None] for k in ("image_mean", "image_std"))
            pixels = (stored.float() / 255 - mean) / deviation
            called = model.vision_model if name == "clip-image" else model
            if name == "vit on a clip":
                frames = [directly_pooled(called(pixel_values=pixels[:, i]), pooling, None) for i in range(4)]
                return torch.stack(frames).mean(dim=0)
            outputs = called(pixel_values=pixels)
    return directly_pooled(outputs, pooling, stored != 0 if kind == "text" else None)


def directly_pooled(outputs, pooling, mask):
    if pooling == "pooler":
        return outputs.pooler_output.flatten(1)
    states = outputs.last_hidden_state
    if states.dim() == 4:
        return states.mean(dim=(2, 3))
    if pooling == "cls":
        return states[:, 0]
    if mask is None:
        return states.mean(dim=1)
    return torch.stack([row[kept].mean(dim=0) for row, kept in zip(states, mask, strict=True)])


POOLED = [(name, "mean") for name in MODELS]
POOLED += [("bert", "cls"), ("bert", "pooler"), ("vit", "cls"), ("vit", "pooler"), ("clip-text", "pooler")]
POOLED += [("ast", "pooler"), ("convnext", "pooler"), ("dinov2", "cls")]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "pooling"), POOLED)
@pytest.mark.parametrize("trainable", ["none", "all"])
def test_features_are_those_of_transformers_called_directly(models, name, pooling, trainable):
    network = network_of(models, name, pooling=pooling, trainable=trainable)
    stored = stored_samples(MODELS[name][1])
    network.eval()
    with torch.no_grad():
        features = network.encoders["thing"](network.transform_one("thing", stored))
    expected = directly(name, models[name][1], stored, pooling)
    assert network.encoders["thing"].width == expected.shape[1]
    torch.testing.assert_close(features, expected, atol=2e-5, rtol=1e-4)
    assert (features[0] != features[1]).any()


@pytest.mark.parametrize("name", MODELS)
def test_a_frozen_model_is_in_eval_mode_gets_no_gradient_and_encodes_sample_by_sample(models, name):
    network = network_of(models, name, features=5)
    stored = stored_samples(MODELS[name][1], 4)
    evaluated = network.eval().transform_one("thing", stored)
    network.train()
    features = network.transform_one("thing", stored)
    assert torch.equal(features, evaluated)
    assert torch.equal(features[1:3], network.transform_one("thing", stored[1:3]))
    network.encoders["thing"](features).sum().backward()
    got = {name for name, p in network.named_parameters() if p.grad is not None}
    assert got == {"encoders.thing.projection.weight", "encoders.thing.projection.bias"}


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_a_trained_model_repeats_its_steps_and_every_trained_parameter_gets_a_gradient(models, name):
    network = network_of(models, name, trainable="all")
    inputs = network.transform_one("thing", stored_samples(MODELS[name][1]))
    network.train()
    found = []
    for _ in range(2):
        torch.manual_seed(3)
        np.random.seed(found == [])
        network.zero_grad()
        network.encoders["thing"](inputs).square().sum().backward()
        found.append([p.grad.clone() for p in network.encoders["thing"].parameters() if p.requires_grad])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))
    assert found[0]
    assert network.encoders["thing"](inputs[:0]).shape == (0, network.encoders["thing"].width)


@pytest.mark.parametrize(
    ("name", "trained"),
    [
        ("bert", {"encoder.layer.1", "encoder.layer.2"}),
        ("vit", {"layers.1", "layers.2", "layernorm"}),
        ("wav2vec2", {"encoder.layers.1", "encoder.layers.2"}),
        ("whisper", {"layers.1", "layers.2", "layer_norm"}),
        ("convnext", {"encoder.stages.0", "encoder.stages.1"}),
    ],
)
def test_the_last_blocks_and_what_follows_are_trained_and_the_rest_stays_in_eval_mode(models, name, trained):
    network = network_of(models, name, trainable="last:2")
    model = network.encoders["thing"].model.model
    network.train()
    for key, parameter in model.named_parameters():
        assert parameter.requires_grad == any(key.startswith(f"{part}.") for part in trained), key
    for key, module in model.named_modules():
        own = list(module.parameters())
        if own:
            assert module.training == any(p.requires_grad for p in own), key


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("trainable", ["none", "all"])
def test_network_json_rebuilds_the_network_without_the_files(models, name, trainable):
    config = config_of(models, name, trainable=trainable)
    store = SimpleNamespace(classes=("cat", "dog"), modalities=modalities_of(name))
    description = describe_network(config, store)
    network = build_network(description, 1)
    load_pretrained(network, config)
    description["network"]["encoders"]["thing"]["model"] = "gone"
    again = build_network(description, 2)
    again.load_state_dict(network.state_dict())
    stored = {"thing": stored_samples(MODELS[name][1]), "other": torch.ones(3, 3)}
    with torch.no_grad():
        first, second = (n.eval()(n.transform(stored)).fused for n in (network, again))
    assert torch.equal(first, second)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("trainable", ["none", "all"])
def test_every_operation_is_deterministic_on_gpus(models, name, trainable):
    network = network_of(models, name, trainable=trainable)
    assert nondeterministic_operations(network, modalities_of(name)) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("trainable", ["none", "all"])
def test_per_sample_gradients_are_those_of_a_backward_pass(models, name, trainable):
    check_per_sample_gradients(network_of(models, name, trainable=trainable), name)


def check_per_sample_gradients(network, name):
    stored = {"thing": stored_samples(MODELS[name][1]), "other": torch.ones(3, 3)}
    network.eval()
    with torch.no_grad():
        inputs = network.transform(stored)
    labels = torch.tensor([0, 1, 1])

    def sample_loss(call, one, label):
        return network.loss(call(one), label)[0]

    found = gradient_magnitude(network, sample_loss, inputs, labels)
    for i in range(3):
        network.zero_grad()
        network.loss(network({key: x[i : i + 1] for key, x in inputs.items()}), labels[i : i + 1]).sum().backward()
        grads = [p.grad for p in network.parameters() if p.grad is not None]
        norm = torch.stack([g.square().sum() for g in grads]).sum().sqrt()
        torch.testing.assert_close(found[i], norm, atol=1e-5, rtol=1e-3)


ADAPTED = {"bert": None, "vit": ("q_proj", "v_proj"), "whisper": "all-linear", "clip-text": "all-linear"}


def with_adapters(models, name, **keys):
    """The network with adapters in `name`, which draws of the test have moved from 0."""
    targets = ADAPTED[name]
    network = network_of(models, name, trainable="lora", lora=Lora(r=2, alpha=6.0, target_modules=targets, **keys))
    torch.manual_seed(5)
    for key, parameter in network.named_parameters():
        if "lora_B" in key:
            torch.nn.init.normal_(parameter)
    return network


@pytest.mark.parametrize("name", ADAPTED)
def test_adapters_start_as_the_model_and_only_they_learn(models, name):
    stored = stored_samples(MODELS[name][1])
    lora = Lora(r=2, dropout=0.5, target_modules=ADAPTED[name])
    network = network_of(models, name, trainable="lora", lora=lora, features=5)
    encoder = network.encoders["thing"].eval()
    inputs = network.transform_one("thing", stored)
    with torch.no_grad():
        torch.testing.assert_close(
            encoder.encode(inputs), directly(name, models[name][1], stored, "mean"), atol=2e-5, rtol=1e-4
        )
    network.train()
    encoder(inputs).square().sum().backward()
    learning = {key for key, p in encoder.named_parameters() if p.grad is not None}
    assert learning == {key for key, p in encoder.named_parameters() if p.requires_grad}
    assert {"projection.weight", "projection.bias"} == {key for key in learning if ".lora_" not in key}
    assert [key for key in learning if ".lora_A." in key]
    dropping = [m.p for m in encoder.model.modules() if m.training and isinstance(m, torch.nn.Dropout)]
    assert set(dropping) == {0.5}  # the adapters' own; the model's are 0.1


@pytest.mark.parametrize("name", ["bert", "vit"])
def test_adapters_add_the_scaled_product_of_their_matrices_to_the_weights(models, name):
    network = with_adapters(models, name)
    inputs = network.transform_one("thing", stored_samples(MODELS[name][1]))
    model = network.encoders["thing"].eval().model.model
    with torch.no_grad():
        found = network.encoders["thing"](inputs)
        weights = {key: value.clone() for key, value in model.state_dict().items()}
    merged = network_of(models, name, trainable="all")
    plain = {key: value for key, value in weights.items() if "lora_" not in key}
    for key, value in plain.items():
        if ".base_layer.weight" in key:
            a, b = (weights[key.replace("base_layer", f"lora_{x}.default")] for x in "AB")
            value.add_(6.0 / 2 * b @ a)
    merged.encoders["thing"].model.model.load_state_dict({k.replace(".base_layer.", "."): v for k, v in plain.items()})
    with torch.no_grad():
        expected = merged.eval().encoders["thing"](inputs)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    assert (found - directly(name, models[name][1], stored_samples(MODELS[name][1]), "mean")).abs().max() > 0.01


@pytest.mark.parametrize("name", ["bert", "vit"])
def test_the_per_sample_gradients_of_adapters_are_those_of_a_backward_pass(models, name):
    check_per_sample_gradients(with_adapters(models, name), name)


def test_adapters_are_in_network_json_and_every_operation_is_deterministic_on_gpus(models):
    network = with_adapters(models, "vit")
    config = config_of(models, "vit", trainable="lora", lora=Lora(r=2, alpha=6.0, target_modules=ADAPTED["vit"]))
    store = SimpleNamespace(classes=("cat", "dog"), modalities=modalities_of("vit"))
    description = json.loads(json.dumps(describe_network(config, store)))
    description["network"]["encoders"]["thing"]["model"] = "gone"
    again = build_network(description, 2)
    again.load_state_dict(network.state_dict())
    inputs = network.transform_one("thing", stored_samples(MODELS["vit"][1]))
    with torch.no_grad():
        assert torch.equal(network.eval().encoders["thing"](inputs), again.eval().encoders["thing"](inputs))
    assert nondeterministic_operations(network, modalities_of("vit")) == []


@pytest.mark.parametrize(
    ("name", "targets", "message"),
    [
        (
            "vit",
            None,
            r"null: peft has no default for vit\. Set it to .*: dense, fc1, fc2, .*v_proj\.",
        ),
        (
            "bert",
            ("nothing",),
            r"\['nothing'\]: Target modules .*nothing.* not found .*again\. Set it .* dense, key, query, value\.",
        ),
        ("vit", ("layernorm",), r"\['layernorm'\]: .* Set it to all-linear"),
    ],
)
def test_layers_that_cannot_have_adapters_are_named(models, name, targets, message):
    with pytest.raises(BssError, match=r"^params\.yaml: network\.encoders\.thing\.lora\.target_modules: " + message):
        network_of(models, name, trainable="lora", lora=Lora(target_modules=targets))


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"lora": {"r": 0}}, r"\.lora: `r` must be at least 1, but got: 0"),
        ({"lora": {"rank": 4}}, r"\.lora\.rank: unknown key; known keys of .*: r, alpha, dropout, target_modules"),
        ({"lora": {"target_modules": "query"}}, r"\.lora: `target_modules` must be a list of .*, but got: 'query'"),
        ({"trainable": "all", "lora": {}}, r": `lora` must be null for trainable all"),
        ({"trainable": "adapters"}, r": `trainable` must be none, last:N with N at least 1, all, or lora"),
    ],
)
def test_options_that_make_no_adapters_are_named(keys, message, tree):
    tree["network"]["encoders"]["image"] = {"kind": "huggingface", "model": "vit", "trainable": "lora", **keys}
    with pytest.raises(BssError, match=r"network\.encoders\.image" + message):
        config_from_tree(tree, "params.yaml")


def test_without_peft_the_message_names_the_extra(models, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(BssError) as caught:
        network_of(models, "bert", trainable="lora")
    assert str(caught.value) == (
        "params.yaml: network.encoders.thing.trainable: lora: peft is not installed: run "
        "`pip install -c requirements.lock '.[lora]'` in a clone."
    )


def test_the_learning_rate_of_the_model_is_its_own_and_that_of_its_linear_layer_the_common_one(models):
    network = network_of(models, "bert", trainable="last:1", features=4, learning_rate=0.001)
    groups = make_optimiser(network, SgdConfig("sgd", 0.1)).param_groups
    by_rate = {group["lr"]: {id(p) for p in group["params"]} for group in groups}
    encoder = network.encoders["thing"]
    assert by_rate[0.001] == {id(p) for p in encoder.model.parameters() if p.requires_grad}
    assert {id(p) for p in encoder.projection.parameters()} <= by_rate[0.1]
    assert set(by_rate) == {0.001, 0.1}


def test_autocast_to_16_bits_leaves_a_frozen_model_in_32(models):
    network = network_of(models, "vit")
    stored = stored_samples(MODELS["vit"][1])
    network.precision = "bf16"
    with torch.no_grad():
        features = network.transform_one("thing", stored)
        outputs = network({"thing": features, "other": torch.ones(3, 3)})
    assert torch.equal(outputs.features["thing"], features)
    expected = directly("vit", models["vit"][1], stored, "mean")
    torch.testing.assert_close(features, expected, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ["bert", "vit", "wav2vec2"])
def test_a_trained_model_in_16_bits_is_close_to_32_and_has_finite_gradients(models, name):
    network = network_of(models, name, trainable="all").eval()
    inputs = network.transform({"thing": stored_samples(MODELS[name][1]), "other": torch.ones(3, 3)})
    expected = network(inputs).features["thing"]
    outputs = network(inputs, "bf16")
    assert outputs.features["thing"].dtype == torch.float32
    torch.testing.assert_close(outputs.features["thing"], expected, atol=0.05, rtol=0.05)
    network.loss(outputs, torch.tensor([0, 1, 1])).sum().backward()
    gradients = [p.grad for p in network.encoders["thing"].parameters() if p.requires_grad]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)


def test_transformers_is_the_release_whose_random_settings_are_known():
    assert hf.Wav2Vec2Config().apply_spec_augment
