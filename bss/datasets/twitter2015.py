"""Twitter-2015 (Yu and Jiang, 2019): tweets with an image, and the sentiment towards a target that they name."""

import functools
from pathlib import Path

from bss.datasets.dataset import Dataset, Row
from bss.datasets.layout import first_there, name_labels, read_table_with_header
from bss.datasets.preset import paper_preset, sgd, text_and_image

COLUMNS = ("index", "#1 Label", "#2 ImageID", "#3 String", "#3 String")
KEYS = ("index", "label", "image", "text", "target")
LABELS = {"0": "negative", "1": "neutral", "2": "positive"}


def read(root: Path, replace_target: bool = True) -> list[Row]:
    """Return a row per target of the published annotations; the group is the image, which a tweet's targets share.

    `replace_target` replaces $T$ in the text with the target.
    """
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
                "text": row["text"].replace("$T$", row["target"]) if replace_target else row["text"],
                "image": f"{images}/{row['image']}",
            }
            for number, (row, label) in enumerate(zip(found, labels, strict=True), 1)
        ]
    return rows


DATASET = Dataset(
    name="twitter2015",
    title="Twitter-2015",
    citation="J. Yu, J. Jiang: Adapting BERT for Target-Oriented Multimodal Sentiment Classification. IJCAI, 2019.",
    address="https://github.com/jefferyYu/TomBERT",
    read=read,
    group="image",
    classes=3,
    counts={"train": 3179, "val": 1122, "test": 1037},
    accuracy={
        "concat": 70.11,
        "etmc": 73.96,
        "mses": 71.84,
        "g-blending": 74.35,
        "domfn": 74.45,
        "ogm": 74.92,
        "mslr": 72.52,
        "agm": 74.83,
        "pmr": 74.25,
        "reconboost": 74.42,
        "mmpareto": 73.58,
        "smv": 74.28,
        "mla": 73.52,
        "amss": 75.12,
        "bss-h": 74.73,
        "bss-l": 75.22,
    },
    options={"amss": {"temperature": 0.5, "relative": False, "classifier": True}},
    layout="""
annotations/train.tsv, dev.tsv, test.tsv   index, #1 Label, #2 ImageID, #3 String, #3 String: the text with
                                           $T$, and the target that stands for it; quotes are plain letters
twitter2015_images/<ImageID>               .jpg
""",
    read_published=functools.partial(read, replace_target=False),
    preset=paper_preset(
        *text_and_image(
            text={"tokens": 64, "letters_only": True, "words": 20}, side=384, image={"normalisation": "none"}
        ),
        optimiser=sgd(0.001),
        epochs=113,
    ),
    published={
        "measure": {"initial_mode": "eval"},
        "schedule": {"schedulers": {"official-l": {"order": "imbalanced-first", "mode": "eval"}}},
    },
    methods={"bss-l": {"train": {"epochs": 100}}},
    differs=("A text whose 20 words have more than 64 tokens is truncated; theirs is perhaps not.",),
    notes=(
        "The authors' Twitter scripts measure in eval mode, and the one for BSS-L draws imbalanced samples first; "
        "so does official-l in protocol published.",
        "In protocol published the target does not replace $T$; after cleaning, only the letter t remains.",
        "The sample train-7 is row 7 of train.tsv after the header; labels 0, 1, 2: negative, neutral, positive.",
        "Two targets of one tweet share the image and, after replacing $T$, the text.",
        "Images are stored and used at 384 x 384 pixels, without augmentation.",
    ),
)
