"""Twitter-2015 in miniature: tweets with two targets each, real TSV files, JPEGs, and a small BERT tokenizer."""

import numpy as np
import pytest
from small_training import small_config
from text_and_image import words_of, write_image, write_words

from bss.config import config_from_tree
from bss.data.store import Store
from bss.datasets.splits import honest_rows
from bss.datasets.twitter2015 import DATASET
from bss.errors import BssError
from bss.stages.prepare import prepare
from tests.datasets import miniatures

HEADER = "index\t#1 Label\t#2 ImageID\t#3 String\t#3 String\n"
SIZES = {"train": 18, "dev": 9, "test": 9}


def write_published(root):
    """Rows 2 n and 2 n + 1 of a file are two targets of one tweet; three tweets are in two files each."""
    write_words(root)
    (root / "annotations").mkdir()
    shared = {("train", 0): "both.jpg", ("test", 0): "both.jpg", ("dev", 0): "late.jpg", ("test", 2): "late.jpg"}
    shared |= {("train", 2): "early.jpg", ("dev", 2): "early.jpg"}
    for split, size in SIZES.items():
        lines = [HEADER]
        for i in range(size):
            image = shared.get((split, i // 2 * 2), f"{split}_{i // 2}.jpg")
            text = 'RT @a: "$T$ sees THE owl , good !' if i % 2 else "the \u2028 cat is $T$"
            lines.append(f"{i}\t{i % 3}\t{image}\t{text}\t{('Cat', 'a pie')[i % 2]}\n")
            write_image(root / "twitter2015_images" / image, 20 * (i % 3))
        (root / "annotations" / f"{split}.tsv").write_text("".join(lines), encoding="utf-8")


published = miniatures.written_by(write_published)
own = miniatures.copy_of("published")


def test_the_published_split_is_read_as_it_is(published, tmp_path, capsys):
    config, classes = small_config("twitter2015", published, "published"), ("negative", "neutral", "positive")
    splits, texts = {"train": 18, "val": 9, "test": 9}, ["train 18 of 3,179, val 9 of 1,122, test 9 of 1,037"]
    store = miniatures.require_published(config, tmp_path, capsys, splits, classes, texts)
    assert store.labels[:4].tolist() == [0, 1, 2, 0]


def test_the_target_stands_for_its_mark_and_a_quote_is_a_letter(published, tmp_path):
    rows = DATASET.read(published)
    assert rows[0]["text"] == "the \u2028 cat is Cat"
    assert rows[1]["text"] == 'RT @a: "a pie sees THE owl , good !'
    store = miniatures.prepared(small_config("twitter2015", published), tmp_path)
    texts = [store.read("text", np.flatnonzero(store.ids == name))[0] for name in ("train-5", "train-6")]
    assert words_of(texts[0]) == "the cat is cat"
    assert words_of(texts[1]) == "[UNK] a a pie sees the owl good"


def test_in_the_published_protocol_a_t_is_left_of_the_targets_mark(published, tmp_path):
    assert DATASET.read_published(published)[0]["text"] == "the \u2028 cat is $T$"
    config = small_config("twitter2015", published, "published")
    prepare(config, published, tmp_path / "store")
    texts = Store.open(tmp_path / "store").read("text", np.arange(2))
    assert words_of(texts[0]) == "the cat is [UNK]"  # this tokenizer has no letter t
    assert words_of(texts[1]) == "[UNK] a [UNK] sees the owl good"


def test_the_honest_split_leaves_out_what_shares_an_image_with_a_later_split(published, tmp_path, capsys):
    rows, left_out = honest_rows(DATASET.read(published), DATASET.honest)
    images = {split: {row["group"] for row in rows if row["split"] == split} for split in ("train", "val", "test")}
    assert not images["train"] & (images["val"] | images["test"])
    assert not images["val"] & images["test"]
    assert left_out == 6  # two targets of each of three tweets
    assert {"both.jpg", "late.jpg"} <= images["test"]
    assert "early.jpg" in images["val"]
    assert len(miniatures.prepared(small_config("twitter2015", published), tmp_path)) == 30
    assert "6 samples left out, because another split has their image" in " ".join(capsys.readouterr().out.split())


test_every_stage_runs = miniatures.every_stage("twitter2015")


def test_missing_and_broken_images_are_named_and_can_be_left_out(own, tmp_path):
    (own / "twitter2015_images" / "train_2.jpg").unlink()
    (own / "twitter2015_images" / "dev_2.jpg").write_bytes(b"\xff\xd8")
    miniatures.require_bad_samples("twitter2015", own, tmp_path, 4, ("train-5", "train-6", "dev-5", "dev-6"), 26)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda root: (root / "annotations" / "dev.tsv").unlink(), r"annotations/dev\.tsv: cannot be read"),
        (lambda root: (root / "annotations" / "dev.tsv").write_text("a\tb\n"), r"row 1: 2 values for the columns"),
        (lambda root: (root / "annotations" / "dev.tsv").write_text("a\tb\tc\td\te\n"), r"header is \['a', 'b'"),
        (lambda root: (root / "annotations" / "dev.tsv").write_text(HEADER), r"has a header but no rows"),
        (lambda root: (root / "annotations" / "dev.tsv").write_text(HEADER + "0\t7\tx.jpg\tt\tu\n"), r"label '7' is"),
        (lambda root: (root / "twitter2015_images").rename(root / "images"), r"has none of twitter2015_images"),
    ],
)
def test_a_layout_that_is_not_the_published_one_is_refused_by_name(own, damage, message):
    damage(own)
    with pytest.raises(BssError, match=message):
        DATASET.read(own)


def test_the_script_that_reverses_the_order_is_followed_in_the_published_protocol_alone():
    for protocol, order in (("published", "imbalanced-first"), ("honest", "balanced-first")):
        tree = {"dataset": "twitter2015", "protocol": protocol, "prepare": {"root": "x"}}
        schedulers = config_from_tree(tree, "params.yaml").schedule.schedulers
        assert schedulers["official-l" if protocol == "published" else "bss-l"].order == order
        assert schedulers["bss-l"].order == "balanced-first"
        mode = config_from_tree(tree, "params.yaml").measure.initial_mode
        assert mode == ("eval" if protocol == "published" else "train")
