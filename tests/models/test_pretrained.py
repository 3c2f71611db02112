"""Pretrained weights: from folders and files in both formats, nothing unpickled; what does not fit is an error."""

import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from transformers.models.bert.configuration_bert import BertConfig as BertSizes
from transformers.models.bert.modeling_bert import BertForMaskedLM
from transformers.models.clip.configuration_clip import CLIPConfig
from transformers.models.clip.modeling_clip import CLIPModel

from bss.config import config_to_tree
from bss.config.encoders import (
    BertConfig,
    ClipImageConfig,
    ClipTextConfig,
    I3dConfig,
    MlpConfig,
    ResNetConfig,
    VitConfig,
)
from bss.config.schema import NetworkConfig
from bss.data.store import Modality
from bss.errors import BssError
from bss.files import digest_file
from bss.models.encoders.i3d_names import rename_from_port
from bss.models.encoders.torchvision_names import rename_from_torchvision
from bss.models.network import build_network, describe_network
from bss.models.pretrained import digest_weights, find_weights, load_pretrained

TINY = {"hidden": 16, "layers": 2, "heads": 2, "intermediate": 32}
ENCODERS = {
    "resnet": ResNetConfig("resnet", width=2),
    "bert": BertConfig("bert", 30, **TINY, positions=6, features=5),
    "vit": VitConfig("vit", 8, **TINY),
    "vit-pooler": VitConfig("vit", 8, **TINY, pooler=True),
    "clip-image": ClipImageConfig("clip-image", 8, **TINY, features=5),
    "clip-text": ClipTextConfig("clip-text", 30, **TINY, positions=6, features=5),
}
IMAGE, TEXT = Modality("image", (3, 16, 16), "uint8", None), Modality("text", (6,), "int32", None)


class TwoModalities:
    """What `describe_network` reads of a store."""

    classes = ("cat", "dog")

    def __init__(self, encoder):
        thing = TEXT if encoder.kind in ("bert", "clip-text") else IMAGE
        self.modalities = {"thing": thing, "other": Modality("features", (3,), "float32", None)}


def network_of(encoder, seed):
    config = NetworkConfig({"thing": encoder, "other": MlpConfig("mlp")})
    return config, build_network(describe_network(config, TwoModalities(encoder)), seed)


def load(encoder, weights):
    config, network = network_of(replace(encoder, weights=str(weights)), seed=1)
    load_pretrained(network, config)
    return network


@pytest.mark.parametrize("kind", ENCODERS)
@pytest.mark.parametrize("form", ["safetensors", "bin", "file"])
def test_a_saved_model_is_loaded_and_the_rest_stays(kind, form, tmp_path):
    encoder = ENCODERS[kind]
    saved = network_of(encoder, 0)[1].encoders["thing"].model
    if form == "safetensors":
        saved.save_pretrained(tmp_path)
        assert (tmp_path / "model.safetensors").is_file()
    else:
        torch.save(saved.state_dict(), tmp_path / "pytorch_model.bin")
    random = torch.get_rng_state()
    network = load(encoder, tmp_path if form != "file" else tmp_path / "pytorch_model.bin")
    fresh = network_of(encoder, 1)[1]
    assert torch.equal(torch.get_rng_state(), random)
    for name, value in network.state_dict().items():
        if name.startswith("encoders.thing.model."):
            expected = saved.state_dict()[name.removeprefix("encoders.thing.model.")]
        else:
            expected = fresh.state_dict()[name]
        assert torch.equal(value, expected), name


def test_a_model_of_another_task_and_older_names_are_understood(tmp_path):
    saved = BertForMaskedLM(
        BertSizes(
            vocab_size=30,
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=6,
        )
    )
    weights = {name.replace("LayerNorm.weight", "LayerNorm.gamma"): x for name, x in saved.state_dict().items()}
    weights |= {"bert.pooler.dense.weight": torch.eye(16), "bert.pooler.dense.bias": torch.ones(16)}
    weights |= {"bert.embeddings.position_ids": torch.arange(6)[None]}
    torch.save(weights, tmp_path / "pytorch_model.bin")
    model = load(ENCODERS["bert"], tmp_path).encoders["thing"].model
    assert torch.equal(model.embeddings.word_embeddings.weight, saved.bert.embeddings.word_embeddings.weight)
    assert torch.equal(model.pooler.dense.weight, torch.eye(16))


def torchvision_names(depth):
    """The names of the weights of torchvision's resnet18 and resnet50, in its order, as its code makes them."""
    blocks, convolutions = {18: ((2, 2, 2, 2), 2), 50: ((3, 4, 6, 3), 3)}[depth]

    def norm(name):
        return [f"{name}.{part}" for part in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")]

    names = ["conv1.weight", *norm("bn1")]
    for stage, count in enumerate(blocks, start=1):
        for block in range(count):
            prefix = f"layer{stage}.{block}"
            for i in range(1, convolutions + 1):
                names += [f"{prefix}.conv{i}.weight", *norm(f"{prefix}.bn{i}")]
            if block == 0 and (stage > 1 or depth == 50):
                names += [f"{prefix}.downsample.0.weight", *norm(f"{prefix}.downsample.1")]
    return names


@pytest.mark.parametrize("depth", [18, 50])
def test_a_resnet_of_torchvision_is_understood(depth, tmp_path):
    encoder = replace(ENCODERS["resnet"], depth=depth)
    saved = network_of(encoder, 0)[1].encoders["thing"].model.state_dict()
    placeholder = torch.zeros(1)
    renamed = rename_from_torchvision(dict.fromkeys(torchvision_names(depth), placeholder))
    assert renamed.keys() == saved.keys()
    assert "encoder.stages.3.layers.1.layer.1.convolution.weight" in renamed
    back = {new: old for old, new in zip(torchvision_names(depth), renamed, strict=True)}
    weights = {back[name]: value for name, value in saved.items()} | {"fc.weight": placeholder, "fc.bias": placeholder}
    torch.save(weights, tmp_path / "resnet.pth")
    loaded = load(encoder, tmp_path / "resnet.pth").encoders["thing"].model.state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in saved.items())


def i3d_names():
    """The names of the weights in the PyTorch port of I3D, in its order, as its code makes them."""

    def unit(name):
        parts = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
        return [f"{name}.conv3d.weight", *(f"{name}.bn.{part}" for part in parts)]

    names = [name for part in ("1a_7x7", "2b_1x1", "2c_3x3") for name in unit(f"Conv3d_{part}")]
    for block in ("3b", "3c", "4b", "4c", "4d", "4e", "4f", "5b", "5c"):
        names += [n for branch in ("b0", "b1a", "b1b", "b2a", "b2b", "b3b") for n in unit(f"Mixed_{block}.{branch}")]
    return names


def clips_of(channels):
    """A network of an I3D on clips of `channels` channels."""
    config = NetworkConfig({"thing": I3dConfig("i3d"), "other": MlpConfig("mlp")})
    things = TwoModalities(I3dConfig("i3d"))
    things.modalities = things.modalities | {"thing": Modality("clip", (16, channels, 32, 32), "uint8", None)}
    return config, things


@pytest.mark.parametrize("port", [True, False])
def test_i3d_takes_the_weights_of_the_port_and_its_own(port, tmp_path):
    config, things = clips_of(3)
    saved = build_network(describe_network(config, things), 0).encoders["thing"].layers.state_dict()
    if port:  # the order of both is that of the network
        weights = dict(zip(i3d_names(), saved.values(), strict=True))
        assert rename_from_port(weights).keys() == saved.keys()
        weights |= {"logits.conv3d.weight": torch.zeros(400, 1024, 1, 1, 1), "logits.conv3d.bias": torch.zeros(400)}
    else:
        weights = saved
    torch.save(weights, tmp_path / "rgb.pt")
    network = build_network(describe_network(config, things), 1)
    encoder = replace(config.encoders["thing"], weights=str(tmp_path / "rgb.pt"))
    load_pretrained(network, NetworkConfig({"thing": encoder, "other": MlpConfig("mlp")}))
    loaded = network.encoders["thing"].layers.state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in saved.items())


def test_weights_of_another_i3d_are_reported_with_their_names(tmp_path):
    config, things = clips_of(1)
    network = build_network(describe_network(config, things), 1)
    weights = dict(zip(i3d_names(), network.encoders["thing"].layers.state_dict().values(), strict=True))
    weights["Conv3d_1a_7x7.conv3d.weight"] = torch.zeros(64, 3, 7, 7, 7)
    weights["Mixed_6a.b0.bn.bias"] = weights.pop("Mixed_5c.b0.bn.bias")
    torch.save(weights, tmp_path / "rgb.pt")
    encoder = replace(config.encoders["thing"], weights=str(tmp_path / "rgb.pt"))
    before = {name: x.clone() for name, x in network.state_dict().items()}
    with pytest.raises(BssError) as caught:
        load_pretrained(network, NetworkConfig({"thing": encoder, "other": MlpConfig("mlp")}))
    for message in (
        "0.convolution.weight is [64, 3, 7, 7, 7], not [64, 1, 7, 7, 7]",
        "missing 15.branches.0.normalisation.bias",
        "unexpected Mixed_6a.b0.bn.bias",
    ):
        assert message in str(caught.value)
    assert all(torch.equal(before[name], x) for name, x in network.state_dict().items())


@pytest.mark.parametrize("kind", ["clip-image", "clip-text"])
def test_each_encoder_of_clip_is_taken_out_of_the_whole(kind, tmp_path):
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    text = sizes | {"vocab_size": 30, "max_position_embeddings": 6, "bos_token_id": None, "eos_token_id": 2}
    vision = sizes | {"image_size": 16, "patch_size": 8}
    whole = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=5))
    whole.save_pretrained(tmp_path)
    model = load(ENCODERS[kind], tmp_path).encoders["thing"].model
    projection = "visual_projection" if kind == "clip-image" else "text_projection"
    assert torch.equal(getattr(model, projection).weight, getattr(whole, projection).weight)


def wrong_sizes(tmp_path):
    saved = network_of(replace(ENCODERS["bert"], vocabulary=31, layers=3), 0)[1].encoders["thing"].model
    saved.save_pretrained(tmp_path)
    return tmp_path


def too_small(tmp_path):
    network_of(replace(ENCODERS["bert"], layers=1), 0)[1].encoders["thing"].model.save_pretrained(tmp_path)
    return tmp_path


def other_network(tmp_path):
    network_of(ENCODERS["resnet"], 0)[1].encoders["thing"].model.save_pretrained(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("save", "messages"),
    [
        (
            wrong_sizes,
            ["embeddings.word_embeddings.weight is [31, 16], not [30, 16]", "unexpected encoder.layer.2."],
        ),
        (too_small, ["missing encoder.layer.1.attention.self.query.weight"]),
        (other_network, ["missing embeddings.word_embeddings.weight", "more"]),
    ],
)
def test_weights_that_do_not_fit_are_reported_in_one_error_with_their_names(save, messages, tmp_path):
    with pytest.raises(BssError) as caught:
        load(ENCODERS["bert"], save(tmp_path))
    text = str(caught.value)
    assert text.startswith("params.yaml: network.encoders.thing.weights: ")
    assert all(message in text for message in messages), text


class Malicious:
    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return Path.touch, (self.trace,)


@pytest.mark.parametrize("write", [lambda x, path: path.write_bytes(pickle.dumps(x, protocol=2)), torch.save])
@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.safetensors", "weights.pt"])
def test_a_malicious_file_is_refused_and_runs_nothing(write, name, tmp_path):
    write({"weight": Malicious(tmp_path / "ran")}, tmp_path / name)
    with pytest.raises(BssError, match=r"network\.encoders\.thing\.weights: .* is not a safe weight file"):
        load(ENCODERS["bert"], tmp_path / name)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("left", [0, 4, 60, 4000])
def test_weights_that_are_cut_off_are_one_message_that_says_so(left, tmp_path):
    file = tmp_path / "model.safetensors"
    save_file({"weight": torch.zeros(40, 40)}, file)
    file.write_bytes(file.read_bytes()[:left])
    with pytest.raises(BssError, match=r"safe weight file \(.*\)\. If it is cut off or damaged, fetch it again\."):
        load(ENCODERS["bert"], tmp_path)


def test_a_file_of_something_else_is_refused(tmp_path):
    torch.save({"epoch": 3, "model": {}}, tmp_path / "pytorch_model.bin")
    with pytest.raises(BssError, match="does not hold a state_dict"):
        load(ENCODERS["bert"], tmp_path)


def test_what_is_found_nowhere_is_reported_with_what_was_tried(tmp_path, monkeypatch):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    with pytest.raises(BssError) as caught:
        find_weights("google-bert/bert-base-uncased@main", "thing")
    text = str(caught.value)
    assert "network.encoders.thing.weights: google-bert/bert-base-uncased@main is not a local file or folder" in text
    assert "model.safetensors" in text
    assert "copy model.safetensors or pytorch_model.bin into a folder" in text
    with pytest.raises(BssError, match="is not a file, a folder, or a name on the Hugging Face Hub"):
        find_weights(str(tmp_path / "a" / "b"), "thing")
    with pytest.raises(BssError, match=r"has neither model\.safetensors nor pytorch_model\.bin"):
        find_weights(str(tmp_path), "thing")


def test_a_description_of_a_network_names_no_weights(tmp_path):
    encoder = replace(ENCODERS["resnet"], weights=str(tmp_path / "gone"))
    config = NetworkConfig({"thing": encoder, "other": MlpConfig("mlp")})
    description = describe_network(config, TwoModalities(encoder))
    assert description["network"]["encoders"]["thing"]["weights"] is None
    assert str(tmp_path) not in str(description)
    build_network(description)
    assert config_to_tree(config)["encoders"]["thing"]["weights"] == encoder.weights


def test_the_digest_of_weights_is_that_of_their_content(tmp_path):
    path = tmp_path / "model.safetensors"
    config = NetworkConfig({"thing": replace(ENCODERS["resnet"], weights=str(tmp_path)), "other": MlpConfig("mlp")})
    save_file({"a": torch.zeros(2)}, path)
    first = digest_weights(config)
    assert first == {"weights_thing": digest_file(path)}
    save_file({"a": torch.ones(3)}, path)
    assert digest_weights(config) != first
