"""UPMC Food-101 in miniature: three dishes, real CSV files and JPEGs, and a small BERT tokenizer."""

import csv
from collections import Counter

import numpy as np
import pytest
from small_training import run_all_stages, small_config
from text_and_image import words_of, write_image, write_words

from bss.data.store import Store
from bss.datasets.food_101 import DATASET
from bss.datasets.splits import honest_rows
from bss.errors import BssError
from bss.files import read_json
from bss.stages.prepare import prepare

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


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    root = tmp_path_factory.mktemp("food") / "food-101"
    write_published(root)
    return root


def test_the_published_split_is_read_as_it_is_and_has_no_val(published, tmp_path, capsys):
    prepare(small_config("food-101", published, "published"), published, tmp_path / "store")
    store = Store.open(tmp_path / "store")
    assert Counter(store.splits.tolist()) == {"train": 30, "test": 12}
    assert store.classes == DISHES
    texts = store.read("text", np.array([1, 3]))
    assert words_of(texts[0]).startswith("a pie [UNK]")
    assert words_of(texts[1]) == ""  # no title: the marks alone
    assert "train 30 of 67,972, test 12 of 22,716" in " ".join(capsys.readouterr().out.split())


def test_the_honest_split_has_no_title_of_test_in_train(published, tmp_path):
    rows, left_out = honest_rows(DATASET.read(published), DATASET.honest)
    titles = {split: {row["group"] for row in rows if row["split"] == split} for split in ("train", "test")}
    assert left_out == len(DISHES)
    assert not titles["train"] & titles["test"]
    assert len(titles["train"]) == 27  # samples without a title are groups of their own
    prepare(small_config("food-101", published), published, tmp_path / "store")
    counts = Counter(Store.open(tmp_path / "store").splits.tolist())
    assert counts["test"] == 12
    assert counts["train"] + counts["val"] == 27
    assert counts["val"] >= 3


@pytest.mark.slow
def test_every_stage_runs(published, tmp_path):
    report = run_all_stages(small_config("food-101", published), tmp_path)
    assert {"uniform", "bss-h", "bss-l"} <= set(read_json(report / "comparison.json", "compare")["schedulers"])
    assert (report / "report.html").is_file()


def test_missing_and_broken_images_are_named_and_can_be_left_out(tmp_path):
    root = tmp_path / "food-101"
    write_published(root)
    (root / "images" / "train" / "owl_soup" / "owl_soup_2.jpg").unlink()
    (root / "images" / "test" / "waffles" / "waffles_101.jpg").write_text("<html>")
    with pytest.raises(BssError) as raised:
        prepare(small_config("food-101", root), root, tmp_path / "store")
    assert "2 problems" in str(raised.value)
    assert all(name in str(raised.value) for name in ("owl_soup_2", "waffles_101"))
    prepare(small_config("food-101", root, on_bad_sample="skip"), root, tmp_path / "store")
    assert len(Store.open(tmp_path / "store")) == 37


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, r"texts/test_titles\.csv: cannot be read"),
        ("", r"texts/test_titles\.csv: empty"),
        ("a.jpg,A title, with a comma,pie\n", r"row 1: 4 values for the columns image, title, class"),
    ],
)
def test_titles_that_are_not_as_published_are_refused_by_name(tmp_path, text, message):
    root = tmp_path / "food-101"
    write_published(root)
    path = root / "texts" / "test_titles.csv"
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises(BssError, match=message):
        DATASET.read(root)
