"""What presets share, and the short form where the files decide about modalities."""

import pytest

from bss.config import config_from_tree
from bss.errors import BssError


@pytest.mark.parametrize("name", ["twitter2015", "sarcasm", "food-101"])
def test_text_and_image_have_pretrained_encoders_and_the_published_augmentation(name):
    config = config_from_tree({"dataset": name, "prepare": {"root": "data/x"}}, "t")
    text, image = config.network.encoders["text"], config.network.encoders["image"]
    assert (text.kind, text.weights) == ("bert", config.prepare.modalities["text"].tokenizer)
    assert (image.kind, image.depth, image.weights) == ("resnet", 50, "microsoft/resnet-50")
    assert (image.crop.height, image.crop.width, image.crop.train, image.crop.flip) == (
        224,
        224,
        "random-resized",
        True,
    )
    assert image.crop.evaluation == "whole"
    assert (config.train.optimiser.kind, config.train.optimiser.learning_rate) == ("adam", 1e-5)


def test_a_modality_that_the_dataset_has_not_is_refused_but_where_files_decide():
    tree = {"dataset": "sarcasm", "prepare": {"root": "x", "modalities": {"audio": {"seconds": 2.0}}}}
    with pytest.raises(BssError, match="audio is no modality of the dataset sarcasm, which has text, image"):
        config_from_tree(tree, "t")
    names = ("pulse", "gaze")
    tree = {"dataset": "features", "prepare": {"root": "x", "modalities": {n: {"kind": "features"} for n in names}}}
    config = config_from_tree(tree | {"network": {"encoders": {n: {"kind": "mlp"} for n in names}}}, "t")
    assert tuple(config.prepare.modalities) == names
    with pytest.raises(BssError, match="`modalities` must be two or more"):
        config_from_tree({"dataset": "features", "prepare": {"root": "x"}}, "t")
