"""UPMC Food-101 in miniature: three dishes, real CSV files and JPEGs, and a small BERT tokenizer."""

import csv
from collections import Counter

import numpy as np
import pytest
from small_training import small_config
from text_and_image import words_of, write_image, write_words

from bss.datasets.food_101 import DATASET
from bss.datasets.splits import honest_rows
from bss.errors import BssError
from tests.datasets import miniatures

DISHES = ("apple_pie", "owl_soup", "waffles")


def write_published(root):
    """Image 3 of each dish in train has no title; images 0 of train and test share theirs but for case and spaces."""
    write_words(root)
    (root / "texts").mkdir()
    for split, size in (("train", 10), ("test", 4)):
        rows = []
        for dish in DISHES:
            for i in range(size):
                name = f"{dish}_{i if split == 'train' else 100 + i}.jpg"
                title = f"The {dish}, good" if i == 0 else f'A pie, {split} {dish} "no. {i}"'
                title = title.upper().replace(" ", "  ") if i == 0 and split == "test" else title
                rows.append((name, "" if i == 3 and split == "train" else title, dish))
                write_image(root / "images" / split / dish / name, 60 * DISHES.index(dish))
        with (root / "texts" / f"{split}_titles.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(rows)


published = miniatures.written_by(write_published)
own = miniatures.copy_of("published")


def test_the_published_split_is_read_as_it_is_and_has_no_val(published, tmp_path, capsys):
    config, texts = small_config("food-101", published, "published"), ["train 30 of 67,972, test 12 of 22,716"]
    store = miniatures.require_published(config, tmp_path, capsys, {"train": 30, "test": 12}, DISHES, texts)
    texts = store.read("text", np.array([1, 3]))
    assert words_of(texts[0]).startswith("a pie [UNK]")
    assert words_of(texts[1]) == ""  # no title: the marks alone


def test_the_honest_split_has_no_title_of_test_in_train(published, tmp_path):
    rows, left_out = honest_rows(DATASET.read(published), DATASET.honest)
    titles = {split: {row["group"] for row in rows if row["split"] == split} for split in ("train", "test")}
    assert left_out == len(DISHES)
    assert not titles["train"] & titles["test"]
    assert len(titles["train"]) == 27  # samples without a title are groups of their own
    counts = Counter(miniatures.prepared(small_config("food-101", published), tmp_path).splits.tolist())
    assert counts["test"] == 12
    assert counts["train"] + counts["val"] == 27
    assert counts["val"] >= 3


test_every_stage_runs = miniatures.every_stage("food-101")


def test_missing_and_broken_images_are_named_and_can_be_left_out(own, tmp_path):
    (own / "images" / "train" / "owl_soup" / "owl_soup_2.jpg").unlink()
    (own / "images" / "test" / "waffles" / "waffles_101.jpg").write_text("<html>")
    miniatures.require_bad_samples("food-101", own, tmp_path, 2, ("owl_soup_2", "waffles_101"), 37)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, r"texts/test_titles\.csv: cannot be read"),
        ("", r"texts/test_titles\.csv: empty"),
        ("a.jpg,A title, with a comma,pie\n", r"row 1: 4 values for the columns image, title, class"),
    ],
)
def test_titles_that_are_not_as_published_are_refused_by_name(own, text, message):
    path = own / "texts" / "test_titles.csv"
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises(BssError, match=message):
        DATASET.read(own)
