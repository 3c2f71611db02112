"""A pretrained model's files, and what its processor wants: every disagreement is a message that names the key."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from bss.config import config_from_tree
from bss.config.own_encoders import HuggingfaceConfig
from bss.errors import BssError
from bss.models.huggingface.agreement import check_agreement, resized_otherwise
from bss.models.huggingface.files import digest_model, find_model, read_architecture, weight_files
from tests.models.small_models import VIDEO_PROCESSOR, VIT_PROCESSOR, save_model
from tests.models.test_huggingface_encoder import network_of

KEY = r"params\.yaml: network\.encoders\.thing\.model: "


def encoder_of(folder, **keys):
    return HuggingfaceConfig("huggingface", str(folder), **keys)


def write(folder, name, content):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps(content), encoding="utf-8")
    return folder


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*arguments, **keywords):
        raise ConnectionError("no network.")

    monkeypatch.setattr("huggingface_hub.snapshot_download", refuse)


def test_a_hub_name_without_a_network_is_one_message_that_says_what_to_do():
    with pytest.raises(BssError) as caught:
        find_model(encoder_of("facebook/dinov2-small", revision="abc"), "thing")
    assert str(caught.value) == (
        "params.yaml: network.encoders.thing.model: facebook/dinov2-small is not a local folder and could not be "
        "fetched from the Hugging Face Hub (no network). Without a network, save model and processor with "
        "save_pretrained into a folder and give that folder."
    )


def test_a_model_from_the_hub_is_asked_for_at_its_revision_and_its_commit_is_recorded(tmp_path, monkeypatch):
    folder = tmp_path / "snapshots" / ("0123456789" * 4)
    write(folder, "config.json", {"model_type": "bert"})
    (folder / "model.safetensors").write_bytes(b"weights")
    asked = []

    def download(name, *, revision, allow_patterns, etag_timeout):
        asked.append((name, revision, allow_patterns))
        return str(folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    digests = digest_model(encoder_of("someone/something", revision="v1"), "thing")
    assert digests["commit_thing"] == "0123456789" * 4
    assert len(digests["weights_thing"]) == 64
    name, revision, patterns = asked[0]
    assert (name, revision) == ("someone/something", "v1")
    assert not [pattern for pattern in patterns if ".bin" in pattern or ".py" in pattern]


def test_every_file_that_decides_features_decides_the_digest(tmp_path):
    write(tmp_path, "config.json", {"model_type": "vit"})
    write(tmp_path, "preprocessor_config.json", VIT_PROCESSOR)
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    encoder = encoder_of(tmp_path)
    before = digest_model(encoder, "thing")
    write(tmp_path, "README.json", {})
    assert digest_model(encoder, "thing") == before
    for name in ("config.json", "preprocessor_config.json", "model.safetensors"):
        kept = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(kept + b" ")
        assert digest_model(encoder, "thing") != before, name
        (tmp_path / name).write_bytes(kept)


@pytest.mark.parametrize(
    ("files", "keys", "message"),
    [
        ({}, {}, r".* has no config\.json"),
        ({"config.json": {}}, {"revision": "v1"}, r".* is a folder, which has no `revision`"),
        ({"config.json": {}}, {}, r".* has no model\.safetensors\.$"),
        (
            {"config.json": {}, "pytorch_model.bin": {}},
            {},
            r".* has no model\.safetensors, only pytorch_model\.bin\. Set network\.encoders\.thing\.pickle to true",
        ),
        (
            {"config.json": {}, "model.safetensors.index.json": {"weight_map": {"a": "../b.safetensors"}}},
            {},
            r".*index\.json: names weight files that do not exist next to it",
        ),
    ],
)
def test_files_that_are_missing_or_not_allowed_are_named(files, keys, message, tmp_path):
    for name, content in files.items():
        write(tmp_path, name, content)
    with pytest.raises(BssError, match=KEY + message):
        weight_files(encoder_of(tmp_path, **keys), "thing")


def test_remote_code_is_refused_unless_allowed(tmp_path):
    write(tmp_path, "config.json", {"model_type": "of_its_own", "auto_map": {"AutoModel": "modeling.Net"}})
    with pytest.raises(BssError, match=KEY + r".* needs Python code .*remote_code to true"):
        read_architecture(encoder_of(tmp_path), "thing")
    assert read_architecture(encoder_of(tmp_path, remote_code=True), "thing")["processor"] is None
    write(tmp_path, "config.json", {"model_type": "bert", "auto_map": {"AutoModel": "modeling.Net"}})
    assert read_architecture(encoder_of(tmp_path), "thing")["model"]["model_type"] == "bert"


def test_an_unknown_model_is_named(tmp_path):
    write(tmp_path, "config.json", {"model_type": "no_such_model"})
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(BssError, match=KEY + r".*AutoModel cannot build it"):
        network_of({"bert": (tmp_path, None)}, "bert")


def test_weights_are_loaded_from_shards_and_from_torch_files_if_allowed(tmp_path):
    saved = save_model("bert", tmp_path)
    expected = saved.embeddings.word_embeddings.weight
    weights = load_file(tmp_path / "model.safetensors")
    names = sorted(weights)
    parts = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for file, own in parts.items():
        save_file({name: weights[name] for name in own}, tmp_path / file)
    (tmp_path / "model.safetensors").unlink()
    shards = {name: file for file, own in parts.items() for name in own}
    write(tmp_path, "model.safetensors.index.json", {"weight_map": shards})
    found = network_of({"bert": (tmp_path, None)}, "bert").backbone("thing").model
    assert torch.equal(found.embeddings.word_embeddings.weight, expected)
    (tmp_path / "model.safetensors.index.json").unlink()
    torch.save(weights, tmp_path / "pytorch_model.bin")
    found = network_of({"bert": (tmp_path, None)}, "bert", pickle=True).backbone("thing").model
    assert torch.equal(found.embeddings.word_embeddings.weight, expected)


def test_weights_that_are_missing_do_not_fit_unless_nothing_uses_them(tmp_path):
    save_model("bert", tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    pooler = {name for name in weights if "pooler" in name}
    assert pooler
    save_file({name: value for name, value in weights.items() if name not in pooler}, tmp_path / "model.safetensors")
    network_of({"bert": (tmp_path, None)}, "bert", pooling="mean")
    with pytest.raises(BssError, match=KEY + r"(.|\n)*missing pooler\.dense\.bias"):
        network_of({"bert": (tmp_path, None)}, "bert", pooling="pooler")


@pytest.mark.parametrize(
    ("name", "keys", "message"),
    [
        ("wav2vec2", {"pooling": "pooler"}, r"network\.encoders\.thing\.pooling: Wav2Vec2Model has no pooler"),
        ("convnext", {"pooling": "cls"}, r"network\.encoders\.thing\.pooling: ConvNextModel has no first token"),
        ("bert", {"trainable": "last:4"}, r"thing\.trainable: last:4: BertModel has 3 blocks"),
    ],
)
def test_what_a_model_does_not_have_is_named(name, keys, message, tmp_path):
    save_model(name, tmp_path)
    with pytest.raises(BssError, match=message):
        network_of({name: (tmp_path, None)}, name, **keys)


@pytest.mark.parametrize(
    ("changes", "ways"),
    [
        ({}, None),
        ({"resample": 2}, None),
        ({"resample": [3]}, None),
        ({"do_resize": False, "resample": 3}, None),
        ({"resample": 3}, "uses a bicubic filter,"),
        ({"do_center_crop": True, "crop_size": {"height": 16, "width": 16}}, "keeps the aspect ratio and crops,"),
        ({"resample": 1, "size": {"shortest_edge": 16}}, "uses a Lanczos filter and keeps the aspect ratio and crops,"),
    ],
)
def test_a_processor_that_resizes_in_another_way_is_said(changes, ways, tmp_path):
    save_model("vit", tmp_path / "m")
    write(tmp_path / "m", "preprocessor_config.json", VIT_PROCESSOR | changes)
    picture, encoder = {"kind": "image", "height": 16, "width": 16}, {"model": str(tmp_path / "m")}
    config = config_with(tmp_path, picture, encoder)
    check_agreement(config)
    found = resized_otherwise(config)
    assert found == [] if ways is None else f"thing: the processor of {tmp_path / 'm'} {ways} but bss" in found[0]
    assert resized_otherwise(config_with(tmp_path, picture, encoder | {"preprocessing": "unchecked"})) == []


def word_tokenizer(folder, words, lower_case=True):
    """Write a tokenizer that splits at spaces, with padding id 0."""
    vocabulary = {"[PAD]": 0, "[UNK]": 1} | {word: number for number, word in enumerate(words, 2)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    if lower_case:
        tokenizer.normalizer = normalizers.Lowercase()
    folder.mkdir(exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "[PAD]", "unk_token": "[UNK]"}
    write(folder, "tokenizer_config.json", settings)


def config_with(root, modality, encoder):
    tree = {
        "prepare": {"root": str(root), "modalities": {"thing": modality, "other": {"kind": "features"}}},
        "network": {"encoders": {"thing": {"kind": "huggingface", **encoder}, "other": {"kind": "mlp"}}},
        "schedule": {"schedulers": {"uniform": {"kind": "uniform"}}},
        "compare": {"control": None},
        "train": {"optimiser": {"kind": "sgd"}},
    }
    return config_from_tree(tree, "params.yaml")


PICTURE = {"kind": "image", "height": 16, "width": 16}
SOUND = {"kind": "audio", "sample_rate": 8000}
SOUND_PROCESSOR = {"feature_extractor_type": "Wav2Vec2FeatureExtractor", "sampling_rate": 16000}


@pytest.mark.parametrize(
    ("modality", "keys", "processor", "message"),
    [
        (PICTURE, {}, VIT_PROCESSOR, None),
        (PICTURE, {"normalisation": "imagenet"}, VIT_PROCESSOR, None),
        (PICTURE, {"normalisation": "half"}, VIT_PROCESSOR, r"network\.encoders\.thing\.normalisation: half; it"),
        (
            PICTURE | {"height": 32},
            {},
            VIT_PROCESSOR,
            r"prepare\.modalities\.thing: 32 x 16 pixels, but the processor of network\.encoders\.thing\.model gives "
            r"16 x 16 pixels",
        ),
        (PICTURE | {"height": 32}, {"crop": {"height": 16, "width": 16}}, VIT_PROCESSOR, None),
        (
            PICTURE,
            {"crop": {"height": 8, "width": 16}},
            VIT_PROCESSOR,
            r"network\.encoders\.thing\.crop: 8 x 16 pixels, but",
        ),
        (PICTURE | {"channels": 1}, {}, VIT_PROCESSOR, r"prepare\.modalities\.thing\.channels: 1, but .* takes 3"),
        (PICTURE, {}, None, r"network\.encoders\.thing\.model: has no preprocessor_config\.json to check"),
        (PICTURE | {"height": 32}, {"preprocessing": "unchecked"}, VIT_PROCESSOR, None),
        (
            PICTURE,
            {},
            VIT_PROCESSOR | {"rescale_factor": 1 / 127.5},
            r"network\.encoders\.thing\.model: its processor does not scale pixels by 1 / 255",
        ),
        (
            {"kind": "clip", "frames": 8, "height": 16, "width": 16},
            {},
            VIDEO_PROCESSOR,
            r"prepare\.modalities\.thing\.frames: 8, but network\.encoders\.thing\.model takes 4 frames",
        ),
        (
            {"kind": "clip", "frames": 8, "height": 16, "width": 16},
            {"crop": {"height": 16, "width": 16, "frames": 4}},
            VIDEO_PROCESSOR,
            None,
        ),
        (SOUND, {}, SOUND_PROCESSOR, r"prepare\.modalities\.thing\.sample_rate: 8000, but the processor .* 16000 Hz"),
        (
            {"kind": "audio", "sample_rate": 16000},
            {},
            {"feature_extractor_type": "ClapFeatureExtractor"},
            r"network\.encoders\.thing\.model: its feature extractor is ClapFeatureExtractor; bss takes",
        ),
        (PICTURE, {}, SOUND_PROCESSOR, r"network\.encoders\.thing\.model: it is a model of sounds .* is of kind image"),
        ({"kind": "audio"}, {}, VIT_PROCESSOR, r"network\.encoders\.thing\.model: its .* is ViTImageProcessor; bss"),
        ({"kind": "audio"}, {}, None, r"network\.encoders\.thing\.model: preprocessor_config\.json is missing"),
    ],
)
def test_a_processor_that_disagrees_with_prepare_is_named_with_the_key(modality, keys, processor, message, tmp_path):
    frames = {"num_frames": 4} if modality["kind"] == "clip" else {}
    write(tmp_path, "config.json", {"model_type": "vit", "num_channels": 3, **frames})
    if processor is not None:
        write(tmp_path, "preprocessor_config.json", processor)
    config = config_with(tmp_path, modality, {"model": str(tmp_path), **keys})
    if message is None:
        check_agreement(config)
        return
    with pytest.raises(BssError, match=r"^params\.yaml: " + message):
        check_agreement(config)


def test_texts_need_the_tokenizer_of_the_model(tmp_path, monkeypatch):
    root, model = tmp_path / "data", tmp_path / "model"
    write(model, "config.json", {"model_type": "bert"})
    word_tokenizer(model, ["cat", "dog"])
    root.mkdir()
    word_tokenizer(root / "same", ["cat", "dog"])
    word_tokenizer(root / "other", ["dog", "cat"])
    text = {"kind": "text", "tokens": 8, "remove_punctuation": False}

    def check(tokenizer, named=str(model), **keys):
        check_agreement(config_with(root, {**text, "tokenizer": tokenizer, **keys}, {"model": named}))

    check("same")
    check(str(model))
    check("../model")
    monkeypatch.chdir(tmp_path)
    word_tokenizer(root / "model", ["dog", "cat"])  # the tokenizer is relative to the data, the model is not
    with pytest.raises(BssError, match=r"model differs from the tokenizer of .*\.model: set it to \.\./model\."):
        check("model", "model")
    with pytest.raises(BssError, match=r"thing\.remove_punctuation: true, but .* texts as they are: set it to false"):
        check("same", remove_punctuation=True)
    with pytest.raises(BssError, match=r"modalities\.thing\.tokenizer: other differs from the tokenizer of network"):
        check("other")
    with pytest.raises(BssError, match=r"modalities\.thing\.tokenizer: null .* needs its own: set it to \.\./model,"):
        check(None)
    settings = json.loads((model / "tokenizer_config.json").read_text())
    write(model, "tokenizer_config.json", settings | {"do_lower_case": False})
    with pytest.raises(BssError, match=r"modalities\.thing\.lower_case: true, but the tokenizer of .* keeps the case"):
        check("same")
    check("same", lower_case=False)
    write(model, "tokenizer_config.json", settings)
    for folder in (model, root / "same"):
        word_tokenizer(folder, ["cat", "dog"], lower_case=False)
    with pytest.raises(BssError, match=r"modalities\.thing\.lower_case: true, but the tokenizer of .* keeps the case"):
        check("same")
    check("same", lower_case=False)
