"""UPMC Food-101 (Wang et al., 2015): images of dishes and the titles of the pages that they come from."""

from pathlib import Path

from bss.datasets.dataset import Dataset, Row
from bss.datasets.layout import read_table
from bss.datasets.preset import FINE_TUNING, paper_preset, random_resized_crop, text_and_image

WITHOUT_WORDS = "-"
"""Stands for an empty title: punctuation is removed, so the tokenizer's marks alone are left."""


def read(root: Path) -> list[Row]:
    """Return a row per title of the published annotations; the group is the title, for recipes repeat."""
    return [
        {
            "id": row["image"].removesuffix(".jpg"),
            "label": row["class"],
            "split": split,
            "group": " ".join(row["title"].lower().split()) or row["image"],
            "image": f"images/{split}/{row['class']}/{row['image']}",
            "text": row["title"] or WITHOUT_WORDS,
        }
        for split in ("train", "test")
        for row in read_table(root, f"texts/{split}_titles.csv", ("image", "title", "class"))
    ]


DATASET = Dataset(
    name="food-101",
    title="UPMC Food-101",
    citation=(
        "X. Wang, D. Kumar, N. Thome, M. Cord, F. Precioso: Recipe Recognition with Large Multimodal Food "
        "Dataset. IEEE ICME Workshops, 2015."
    ),
    read=read,
    group="title",
    honest="published splits",
    classes=101,
    counts={"train": 67972, "test": 22716},
    layout="""
texts/train_titles.csv, test_titles.csv   apple_pie_0.jpg,"The title, as on its page",apple_pie; no header
images/train/<class>/<image>.jpg          images/test/<class>/<image>.jpg
""",
    preset=paper_preset(
        *text_and_image(text={"tokens": 32}, side=256, image={"crop": random_resized_crop(224)}), **FINE_TUNING
    ),
    notes=(
        "Not in the paper: encoders and training are those of Sarcasm, with 30 tokens of a text besides BERT's marks.",
        "The numbers of samples are those of rows in the titles' files of the redistribution that toolkits read; where "
        "images are missing, set prepare.on_bad_sample: skip.",
        "An empty title is a text without words. Titles are one group where they differ in case and spaces alone.",
        "Images are stored with 256 x 256 pixels, from which random crops of 224 are taken; evaluation sees the whole.",
    ),
)
