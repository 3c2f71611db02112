"""Sarcasm in miniature: real JSON lists, JPEG and PNG images, and a small BERT tokenizer."""

import json
from collections import Counter

import numpy as np
import pytest
from small_training import run_all_stages, small_config
from text_and_image import words_of, write_image, write_words

from bss.data.shards import Shard
from bss.data.store import Store
from bss.data.tables import open_table
from bss.datasets.sarcasm import DATASET
from bss.datasets.splits import honest_rows
from bss.errors import BssError
from bss.files import digest_folder, read_json
from bss.stages.join_shards import join_shards
from bss.stages.prepare import prepare

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


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    root = tmp_path_factory.mktemp("sarcasm") / "sarcasm"
    write_published(root)
    return root


def test_the_published_split_is_read_as_it_is(published, tmp_path, capsys):
    prepare(small_config("sarcasm", published, "published"), published, tmp_path / "store")
    store = Store.open(tmp_path / "store")
    assert Counter(store.splits.tolist()) == {"train": 16, "val": 6, "test": 6}
    assert store.classes == ("not sarcastic", "sarcastic")
    assert store.labels[:4].tolist() == [0, 1, 0, 1]
    assert words_of(store.read("text", np.arange(1))[0]) == "the owl sees a cat bad"
    assert "train 16 of 19,816, val 6 of 2,410, test 6 of 2,409" in " ".join(capsys.readouterr().out.split())


def test_the_honest_split_leaves_out_what_shares_an_image_with_a_later_split(published, tmp_path):
    rows, left_out = honest_rows(DATASET.read(published), DATASET.honest)
    images = {split: {row["group"] for row in rows if row["split"] == split} for split in ("train", "val", "test")}
    assert left_out == 2
    assert not images["train"] & (images["val"] | images["test"])
    assert not images["val"] & images["test"]
    prepare(small_config("sarcasm", published), published, tmp_path / "store")
    assert Counter(Store.open(tmp_path / "store").splits.tolist()) == {"train": 14, "val": 6, "test": 6}


def test_one_image_under_two_names_is_in_one_honest_split(tmp_path):
    """The lists may leave out the suffix, and a tweet's image may have been saved twice."""
    root = tmp_path / "sarcasm"
    write_published(root)
    path = root / "annotations" / "train_data.json"
    train = json.loads(path.read_text(encoding="utf-8"))
    train[4]["image"], train[5]["image"] = "4001.jpg", 4003  # in the list of test 4001 without a suffix, and 4003
    path.write_text(json.dumps(train), encoding="utf-8")
    (root / "images" / "train6.jpg").write_bytes((root / "images" / "test2.jpg").read_bytes())
    prepare(small_config("sarcasm", root), root, tmp_path / "store")
    store = Store.open(tmp_path / "store")
    assert Counter(store.splits.tolist()) == {"train": 11, "val": 6, "test": 6}
    assert not {"train-5", "train-6", "train-7"} & set(store.ids)
    digests = {line.split("  ")[1]: line.split("  ")[0] for line in (store.path / "files.sha256").open()}
    rows = open_table(store.path / "samples.parquet", "prepare", ("image", "split"))
    where = {}
    for image, split in zip(rows.texts("image"), rows.texts("split"), strict=True):
        where.setdefault(digests[f"{image}\n"], set()).add(split)
    assert all(len(splits) == 1 for splits in where.values())


def test_a_placeholder_in_all_splits_is_named_as_the_reason_and_may_be_listed(tmp_path):
    root = tmp_path / "sarcasm"
    write_published(root)
    for path in (root / "images").iterdir():
        write_image(root / "gone.png", 255)
        path.write_bytes((root / "gone.png").read_bytes())
    with pytest.raises(BssError, match=r"leaves no sample in train and val: each has a file or the image of another"):
        prepare(small_config("sarcasm", root), root, tmp_path / "store")
    prepare(small_config("sarcasm", root, shared_files=["gone.png"]), root, tmp_path / "store")
    assert Counter(Store.open(tmp_path / "store").splits.tolist()) == {"train": 14, "val": 6, "test": 6}


@pytest.mark.slow
def test_every_stage_runs(published, tmp_path):
    report = run_all_stages(small_config("sarcasm", published), tmp_path)
    assert {"uniform", "bss-h", "bss-l"} <= set(read_json(report / "comparison.json", "compare")["schedulers"])
    assert (report / "report.html").is_file()


def test_missing_and_broken_images_are_named_and_can_be_left_out(tmp_path):
    root = tmp_path / "sarcasm"
    write_published(root)
    (root / "images" / "train2.jpg").unlink()
    (root / "images" / "5003.jpg").write_text("no image")
    with pytest.raises(BssError) as raised:
        prepare(small_config("sarcasm", root), root, tmp_path / "store")
    assert "2 problems" in str(raised.value)
    assert all(name in str(raised.value) for name in ("train-3", "train-4"))
    prepare(small_config("sarcasm", root, on_bad_sample="skip"), root, tmp_path / "store")
    assert len(Store.open(tmp_path / "store")) == 24


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
def test_a_list_that_is_not_the_published_one_is_refused_by_name(tmp_path, text, message):
    root = tmp_path / "sarcasm"
    write_published(root)
    path = root / "annotations" / "val_data.json"
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises(BssError, match=message):
        DATASET.read(root)


def test_shards_of_a_published_dataset_are_joined_to_the_same_store(published, tmp_path):
    config = small_config("sarcasm", published, "honest")
    prepare(config, published, tmp_path / "at-once")
    parts = [tmp_path / str(number) for number in range(4)]
    for number, part in enumerate(parts):
        prepare(config, published, part, Shard(number, 4, "digest"))
    join_shards(config, "digest", parts, tmp_path / "joined")
    assert digest_folder(tmp_path / "joined") == digest_folder(tmp_path / "at-once")
    assert (tmp_path / "joined" / "manifest.csv").is_file()
