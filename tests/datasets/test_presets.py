"""Presets: the settings of the paper's datasets are those of the authors' scripts; what presets share."""

import dataclasses

import pytest

from bss.config import config_from_tree
from bss.config.decay import CosineDecay, StepDecay
from bss.datasets.find import all_datasets
from bss.errors import BssError

SGD = {"kind": "sgd", "momentum": 0.9, "weight_decay": 1e-4}
ADAM = {"kind": "adam", "weight_decay": 1e-4}
RESNET_18 = ("resnet", 18, False)
TEXT_AND_IMAGE = {"text": ("bert", None, True), "image": ("resnet", 50, True)}
I3D = dict.fromkeys(("rgb", "flow", "depth"), ("i3d", None, True))
SOUND_AND_FRAMES = {"audio": RESNET_18, "video": RESNET_18}
SCRIPTS = {
    # Dataset to classes, encoders (kind, depth, pretrained), optimiser, and of BSS-H and BSS-L batch and epochs. Copied
    # from the authors' twelve scripts, train-CL (BSS-H) and train-SPL (BSS-L) of each dataset.
    "crema-d": (6, SOUND_AND_FRAMES, SGD | {"learning_rate": 0.01}, (32, 120), (32, 120)),
    "kinetics-sounds": (31, SOUND_AND_FRAMES, SGD | {"learning_rate": 0.1}, (32, 120), (32, 100)),
    "vggsound": (309, SOUND_AND_FRAMES, SGD | {"learning_rate": 0.01}, (32, 120), (16, 100)),
    "twitter2015": (3, TEXT_AND_IMAGE, SGD | {"learning_rate": 0.001}, (32, 113), (32, 100)),
    "sarcasm": (2, TEXT_AND_IMAGE, ADAM | {"learning_rate": 1e-5}, (32, 120), (32, 100)),
    "nvgesture": (25, I3D, SGD | {"learning_rate": 0.01}, (2, 120), (2, 120)),
}
SPLITS = {
    "crema-d": {"train": 6698, "test": 744},
    "kinetics-sounds": {"train": 15000, "val": 1900, "test": 1900},
    "vggsound": {"train": 168618, "test": 13954},
    "twitter2015": {"train": 3179, "val": 1122, "test": 1037},
    "sarcasm": {"train": 19816, "val": 2410, "test": 2409},
    "nvgesture": {"train": 1050, "test": 482},
}
DECAY_AT, FACTOR, GROW_EPOCHS, START = (70,), 0.1, 40, 0.1
"""In every script: the learning rate is divided by 10 at epoch 70, T_grow and lambda_0."""
XAVIER = {"crema-d", "kinetics-sounds", "vggsound", "nvgesture"}
EVAL = {"twitter2015"}


def preset(name, **keys):
    return config_from_tree({"dataset": name, "prepare": {"root": "data/x"}} | keys, "t")


def training(config):
    return dataclasses.asdict(config.train.optimiser), config.train.batch_size, config.train.epochs


def test_every_dataset_of_the_paper_is_in_the_table():
    assert {name for name, dataset in all_datasets().items() if dataset.accuracy} == set(SCRIPTS) == set(SPLITS)
    assert {name for name, dataset in all_datasets().items() if dataset.differs} == set(SCRIPTS)


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_training_is_that_of_the_script_for_each_method(name):
    classes, encoders, optimiser, *of_methods = SCRIPTS[name]
    assert (all_datasets()[name].classes, all_datasets()[name].counts) == (classes, SPLITS[name])
    for method, (batch_size, epochs) in zip(("bss-h", "bss-l"), of_methods, strict=True):
        config = preset(name, protocol="published", method=method)
        assert training(config) == (optimiser, batch_size, epochs)
        assert (config.train.decay.at, config.train.decay.factor) == (DECAY_AT, FACTOR)
        found = {
            m: (e.kind, getattr(e, "depth", None), e.weights is not None) for m, e in config.network.encoders.items()
        }
        assert found == encoders
        assert config.network.head_initialisation == ("xavier" if name in XAVIER else "torch")
        crema = name == "crema-d"
        weights = config.network.loss_weights
        assert (weights.fused, weights.unimodal) == ((0.1, 0.9) if crema else (1, 1))
        assert config.network.prediction == ("unimodal-heads" if crema else "all-heads")


def test_another_kind_of_decay_takes_the_place_of_the_scripts():
    assert preset("crema-d", train={"decay": {"kind": "cosine"}}).train.decay == CosineDecay("cosine")
    assert preset("crema-d", train={"decay": {"at": [5]}}).train.decay == StepDecay((5,), FACTOR)


@pytest.mark.parametrize("name", SCRIPTS)
@pytest.mark.parametrize("protocol", ["honest", "published"])
def test_without_a_method_all_is_that_of_the_script_for_bss_h(name, protocol):
    _, _, optimiser, (batch_size, epochs), _ = SCRIPTS[name]
    config = preset(name, protocol=protocol)
    assert training(config) == (optimiser, batch_size, epochs)
    assert {"bss-h", "bss-l"} <= set(config.schedule.schedulers)
    assert config.train.drop_last == (protocol == "published")


@pytest.mark.parametrize("name", SCRIPTS)
def test_official_schedulers_are_those_of_the_scripts(name):
    for method in ("bss-h", "bss-l"):
        config = preset(name, protocol="published", method=method)
        measure = config.measure
        assert (measure.warmup_epochs, measure.order) == (0, "dataset")
        assert measure.initial_mode == ("eval" if name in EVAL else "train")
        assert measure.batch_size == (1 if name == "nvgesture" else None)
        logits = (name, method) == ("nvgesture", "bss-h")
        similarity = "logit_similarity" if logits else "prediction_similarity"
        assert measure.score.criteria == (similarity, "training_loss")
        assert config.train.drop_last
        assert (config.evaluation.map_over, config.evaluation.f1_over) == ("all", "present-or-predicted")
    heuristic = preset(name, protocol="published", method="bss-h").schedule.schedulers
    for scheduler, first_epoch in (("bss-h", 0), ("official-h", 1)):
        pacing = heuristic[scheduler].pacing
        expected = ("root", START, GROW_EPOCHS, first_epoch)
        assert (pacing.shape, pacing.start, pacing.grow_epochs, pacing.first_epoch) == expected
    learned = preset(name, protocol="published", method="bss-l").schedule.schedulers["official-l"]
    assert (learned.every, learned.beta, learned.scores, learned.measuring) == (1, 1.0, "initial", "full")
    assert learned.mode == ("eval" if name in EVAL else "train")
    assert learned.order == ("imbalanced-first" if name in EVAL else "balanced-first")
    assert learned.probability == ("one-plus" if name == "nvgesture" else "shifted")


def test_texts_and_images_enter_the_network_as_in_the_scripts():
    twitter, sarcasm = preset("twitter2015"), preset("sarcasm")
    text, image = twitter.prepare.modalities["text"], twitter.prepare.modalities["image"]
    assert (text.letters_only, text.words, image.height, image.width) == (True, 20, 384, 384)
    encoder = twitter.network.encoders["image"]
    assert (encoder.crop, encoder.normalisation) == (None, "none")
    assert sarcasm.prepare.modalities["text"].words == 50
    encoder = sarcasm.network.encoders["image"]
    crop = encoder.crop
    assert (encoder.normalisation, crop.train, crop.scale, crop.evaluation) == (
        *("clip", "random-resized", (0.5, 1.0)),
        "whole",
    )
    sides = {name: preset(name).network.encoders["video"].crop for name in ("crema-d", "kinetics-sounds", "vggsound")}
    assert {name: (crop.height, crop.width, crop.train) for name, crop in sides.items()} == {
        "crema-d": (224, 224, "random-resized"),
        "kinetics-sounds": (224, 224, "random-resized"),
        "vggsound": (384, 384, "random-resized"),
    }
    assert {name for name, crop in sides.items() if crop.per_frame} == {"kinetics-sounds"}
    assert all(crop.flip and crop.evaluation == "whole" for crop in sides.values())
    counts = {name: preset(name).prepare.modalities["video"].count for name in sides}
    assert counts == {"crema-d": 1, "kinetics-sounds": 3, "vggsound": 1}
    sounds = {name: preset(name).prepare.modalities["audio"] for name in sides}
    assert {name: (sound.sample_rate, sound.seconds) for name, sound in sounds.items()} == {
        "crema-d": (22050, 20.0),
        "kinetics-sounds": (35400, 10.0),
        "vggsound": (35400, 20.0),
    }


def test_gestures_enter_the_network_as_in_the_scripts():
    config = preset("nvgesture")
    assert {m: kind.frames for m, kind in config.prepare.modalities.items()} == dict.fromkeys(I3D, 80)
    encoders = config.network.encoders
    assert {m: e.crop.frames for m, e in encoders.items()} == {"rgb": 64, "flow": None, "depth": 64}
    assert {(e.batch_norm_momentum, e.first_maps) for e in encoders.values()} == {(0.01, 8)}
    assert {(e.crop.height, e.crop.train, e.crop.flip) for e in encoders.values()} == {(224, "random", False)}
    assert encoders["depth"].normalisation == "none"


@pytest.mark.parametrize("name", ["twitter2015", "sarcasm", "food-101"])
def test_text_and_image_have_pretrained_encoders(name):
    config = preset(name)
    text, image = config.network.encoders["text"], config.network.encoders["image"]
    assert (text.kind, text.weights) == ("bert", config.prepare.modalities["text"].tokenizer)
    assert (image.kind, image.depth, image.weights) == ("resnet", 50, "microsoft/resnet-50")


def test_a_modality_that_the_dataset_has_not_is_refused_but_where_files_decide():
    tree = {"dataset": "sarcasm", "prepare": {"root": "x", "modalities": {"audio": {"seconds": 2.0}}}}
    with pytest.raises(BssError, match="audio is not a modality of the dataset sarcasm; known: text, image"):
        config_from_tree(tree, "t")
    names = ("pulse", "gaze")
    tree = {"dataset": "features", "prepare": {"root": "x", "modalities": {n: {"kind": "features"} for n in names}}}
    config = config_from_tree(tree | {"network": {"encoders": {n: {"kind": "mlp"} for n in names}}}, "t")
    assert tuple(config.prepare.modalities) == names
    with pytest.raises(BssError, match="`modalities` must be two or more"):
        config_from_tree({"dataset": "features", "prepare": {"root": "x"}}, "t")
