"""Twitter-2015 (Yu and Jiang, 2019): tweets with an image, and the sentiment towards a target that they name."""

from pathlib import Path

from bss.datasets.dataset import Dataset, Row
from bss.datasets.layout import first_there, name_labels, read_table_with_header
from bss.datasets.preset import FINE_TUNING, paper_preset, text_and_image

COLUMNS = ("index", "#1 Label", "#2 ImageID", "#3 String", "#3 String")
KEYS = ("index", "label", "image", "text", "target")
LABELS = {"0": "negative", "1": "neutral", "2": "positive"}


def read(root: Path) -> list[Row]:
    """Return a row per target of the published annotations; the group is the image, which a tweet's targets share."""
    images = first_there(root, "twitter2015_images")
    rows = []
    for split, file in (("train", "train"), ("val", "dev"), ("test", "test")):
        name = f"annotations/{file}.tsv"
        found = read_table_with_header(root, name, COLUMNS, delimiter="\t", quoted=False, keys=KEYS)
        labels = name_labels(root / name, [row["label"] for row in found], LABELS)
        rows += [
            {
                "id": f"{file}-{number}",
                "label": label,
                "split": split,
                "group": row["image"],
                "text": row["text"].replace("$T$", row["target"]),
                "image": f"{images}/{row['image']}",
            }
            for number, (row, label) in enumerate(zip(found, labels, strict=True), 1)
        ]
    return rows


DATASET = Dataset(
    name="twitter2015",
    title="Twitter-2015",
    read=read,
    group="image",
    honest="published splits",
    classes=3,
    counts={"train": 3179, "val": 1122, "test": 1037},
    accuracy={"Concat": 70.11, "BSS-H": 74.73, "BSS-L": 75.22},
    layout="""
annotations/train.tsv, dev.tsv, test.tsv   index, #1 Label, #2 ImageID, #3 String, #3 String: the text with
                                           $T$, and the target that stands for it; quotes are plain letters
twitter2015_images/<ImageID>               .jpg
""",
    preset=paper_preset(*text_and_image(), **FINE_TUNING),
    scripts={"official-l": {"order": "imbalanced-first", "mode": "eval"}},
    notes=(
        "The authors' script for Twitter draws imbalanced samples first and measures in eval mode: so does "
        "official-l in protocol published.",
        "The sample train-7 is row 7 of train.tsv below the header; labels 0, 1, 2: negative, neutral, positive.",
        "Two targets of one tweet have the same image and, once they stand for $T$, the same text.",
        "A text keeps 30 tokens of BERT: the published 20 to 30 words are counted in words.",
        "Published is the optimiser; batch 32, 120 epochs and no decay are as in the paper's other trainings.",
        "Images are stored with 256 x 256 pixels, from which random crops of 224 are taken; evaluation sees the whole.",
    ),
)
