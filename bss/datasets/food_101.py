"""UPMC Food-101 (Wang et al., 2015): images of dishes and the titles of their web pages."""

from pathlib import Path

from bss.datasets.dataset import Dataset, Row
from bss.datasets.layout import read_table
from bss.datasets.preset import FINE_TUNING, paper_preset, random_resized_crop, text_and_image

WITHOUT_WORDS = "-"
"""Replaces an empty title: punctuation is removed, so only special tokens remain."""


def read(root: Path) -> list[Row]:
    """Return a row per title of the published annotations; the group is the title, because recipes repeat."""
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
        "Not in the paper: encoders and training are those of Sarcasm, with 30 tokens per text besides special tokens.",
        "The sample counts are those of the title files in the common redistribution; if "
        "images are missing, set prepare.on_bad_sample: skip.",
        "An empty title becomes a text without words. Titles that differ only in case and spaces form one group.",
        "Images are stored at 256 x 256 pixels; training sees random crops of 224, evaluation the whole image.",
    ),
)
