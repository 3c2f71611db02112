"""Sarcasm in miniature: real JSON lists, JPEG and PNG images, and a small BERT tokenizer."""

import json
from collections import Counter

import numpy as np
import pytest
from in_shards import joined
from small_training import small_config
from text_and_image import words_of, write_image, write_words

from bss.data.tables import open_table
from bss.datasets.sarcasm import DATASET
from bss.datasets.splits import honest_rows
from bss.errors import BssError
from bss.files import digest_folder
from bss.stages.prepare import prepare
from tests.datasets import miniatures

SIZES = {"train": 16, "val": 6, "test": 6}


def write_published(root):
    """The first image of train is the first of test too, the second of train the first of val."""
    write_words(root)
    (root / "annotations").mkdir()
    shared = {("train", 0): "both.jpg", ("test", 0): "both.jpg", ("train", 1): "early.png", ("val", 0): "early.png"}
    for split, size in SIZES.items():
        entries = []
        for i in range(size):
            image = shared.get((split, i), 1000 * len(split) + i if i % 2 else f"{split}{i}.jpg")
            entries.append(
                {"image": image, "text": f"The <owl> sees a cat #{'good' if i % 2 else 'bad'}", "label": i % 2}
            )
            name = str(image) if "." in str(image) else f"{image}.jpg"
            write_image(root / "images" / name, 100 * (i % 2))
        (root / "annotations" / f"{split}_data.json").write_text(json.dumps(entries), encoding="utf-8")


published = miniatures.written_by(write_published)
own = miniatures.copy_of("published")


def test_the_published_split_is_read_as_it_is(published, tmp_path, capsys):
    config, classes = small_config("sarcasm", published, "published"), ("not sarcastic", "sarcastic")
    splits, texts = {"train": 16, "val": 6, "test": 6}, ["train 16 of 19,816, val 6 of 2,410, test 6 of 2,409"]
    store = miniatures.require_published(config, tmp_path, capsys, splits, classes, texts)
    assert store.labels[:4].tolist() == [0, 1, 0, 1]
    assert words_of(store.read("text", np.arange(1))[0]) == "the owl sees a cat bad"


def test_the_honest_split_leaves_out_what_shares_an_image_with_a_later_split(published, tmp_path):
    rows, left_out = honest_rows(DATASET.read(published), DATASET.honest)
    images = {split: {row["group"] for row in rows if row["split"] == split} for split in ("train", "val", "test")}
    assert left_out == 2
    assert not images["train"] & (images["val"] | images["test"])
    assert not images["val"] & images["test"]
    store = miniatures.prepared(small_config("sarcasm", published), tmp_path)
    assert Counter(store.splits.tolist()) == {"train": 14, "val": 6, "test": 6}


def test_one_image_under_two_names_is_in_one_honest_split(own, tmp_path):
    """The lists may leave out the suffix, and a tweet's image may have been saved twice."""
    path = own / "annotations" / "train_data.json"
    train = json.loads(path.read_text(encoding="utf-8"))
    train[4]["image"], train[5]["image"] = "4001.jpg", 4003  # in the list of test 4001 without a suffix, and 4003
    path.write_text(json.dumps(train), encoding="utf-8")
    (own / "images" / "train6.jpg").write_bytes((own / "images" / "test2.jpg").read_bytes())
    store = miniatures.prepared(small_config("sarcasm", own), tmp_path)
    assert Counter(store.splits.tolist()) == {"train": 11, "val": 6, "test": 6}
    assert not {"train-5", "train-6", "train-7"} & set(store.ids)
    digests = {line.split("  ")[1]: line.split("  ")[0] for line in (store.path / "files.sha256").open()}
    rows = open_table(store.path / "samples.parquet", "prepare", ("image", "split"))
    where = {}
    for image, split in zip(rows.texts("image"), rows.texts("split"), strict=True):
        where.setdefault(digests[f"{image}\n"], set()).add(split)
    assert all(len(splits) == 1 for splits in where.values())


def test_a_placeholder_in_all_splits_is_named_as_the_reason_and_may_be_listed(own, tmp_path):
    for path in (own / "images").iterdir():
        write_image(own / "gone.png", 255)
        path.write_bytes((own / "gone.png").read_bytes())
    with pytest.raises(BssError, match=r"leaves no sample in train and val: each has a file or the image of another"):
        prepare(small_config("sarcasm", own), own, tmp_path / "store")
    store = miniatures.prepared(small_config("sarcasm", own, shared_files=["gone.png"]), tmp_path)
    assert Counter(store.splits.tolist()) == {"train": 14, "val": 6, "test": 6}


test_every_stage_runs = miniatures.every_stage("sarcasm")


def test_missing_and_broken_images_are_named_and_can_be_left_out(own, tmp_path):
    (own / "images" / "train2.jpg").unlink()
    (own / "images" / "5003.jpg").write_text("no image")
    miniatures.require_bad_samples("sarcasm", own, tmp_path, 2, ("train-3", "train-4"), 24)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, r"annotations/val_data\.json: cannot be read"),
        ("{", r"val_data\.json: not valid JSON"),
        ("{}", r"expected a list of image, text, label, found dict"),
        (
            '[{"image": "a.jpg", "label": 0}, 3]',
            r"(?s)2 problems.*1: missing text.*2: missing image, text, label",
        ),
        ('[{"image": "a.jpg", "text": null, "label": 0}]', r"entry 1: text is neither text nor number: None"),
        ('[{"image": "a.jpg", "text": "b", "label": 2}]', r"label '2' is not one of 0, 1"),
    ],
)
def test_a_list_that_is_not_the_published_one_is_refused_by_name(own, text, message):
    path = own / "annotations" / "val_data.json"
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises(BssError, match=message):
        DATASET.read(own)


def test_shards_of_a_published_dataset_are_joined_to_the_same_store(published, tmp_path):
    config = small_config("sarcasm", published, "honest")
    made = joined(config, published, tmp_path, 4)
    assert digest_folder(made) == digest_folder(miniatures.prepared(config, tmp_path).path)
    assert (made / "manifest.csv").is_file()
