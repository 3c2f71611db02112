"""CMU-MOSEI (Zadeh et al., 2018): sentiment of speakers in videos; features of three modalities."""

from pathlib import Path

from bss.datasets.dataset import Dataset, Row
from bss.datasets.layout import read_table_with_header
from bss.datasets.preset import CREMA_D_TRAINING, extracted_features, paper_preset
from bss.errors import BssError, raise_problems

MODALITIES = ("audio", "vision", "text")
COLUMNS = ("video_id", "segment", "label", "split")

CONVERSION = """
import csv, pathlib, pickle
import numpy as np

with open("aligned_50.pkl", "rb") as file:  # unpickling can run code: use only a file you trust
    data = pickle.load(file)
rows = [("video_id", "segment", "label", "split")]
for split, part in (("train", data["train"]), ("val", data["valid"]), ("test", data["test"])):
    for i, (video, segment) in enumerate(name.split("$_$") for name in part["id"]):
        rows.append((video, segment, float(part["regression_labels"][i]), split))
        for modality in ("audio", "vision", "text"):
            pathlib.Path(modality).mkdir(exist_ok=True)
            values = np.nan_to_num(part[modality][i], nan=0, posinf=0, neginf=0)  # COVAREP has -inf in silence
            np.save(f"{modality}/{video}_{segment}.npy", values.astype(np.float32))
with open("labels.csv", "w", newline="") as file:
    csv.writer(file).writerows(rows)
"""
"""A script for the user to run; bss itself never unpickles."""


def read(root: Path) -> list[Row]:
    """Return a row per segment of labels.csv; the group is the video, the label its sentiment from -3 to 3, rounded."""
    pickles = sorted(path.name for path in root.glob("*.pkl")) if not (root / "labels.csv").is_file() else []
    if pickles:
        raise BssError(
            f"{root}: has no labels.csv, but {', '.join(pickles)}. bss does not read pickles, because they can run "
            "code. docs/datasets.md, section CMU-MOSEI, has a script that converts yours to labels.csv and .npy files."
        )
    rows = read_table_with_header(root, "labels.csv", COLUMNS)
    classes = [sentiment_class(row["label"]) for row in rows]
    problems = [
        f"row {number}: label {row['label']!r} is not a sentiment from -3 to 3"
        for number, (row, name) in enumerate(zip(rows, classes, strict=True), 1)
        if name is None
    ]
    raise_problems(str(root / "labels.csv"), problems, "Fix these labels.")
    return [
        {"id": f"{row['video_id']}_{row['segment']}", "label": name or "", "split": row["split"]}
        | {"group": row["video_id"]}
        | {modality: f"{modality}/{row['video_id']}_{row['segment']}.npy" for modality in MODALITIES}
        for row, name in zip(rows, classes, strict=True)
    ]


def sentiment_class(text: str) -> str | None:
    """Return the nearest integer from -3 to 3, halves to even; None if it is not such a sentiment."""
    try:
        sentiment = float(text)
    except ValueError:
        return None
    return str(round(sentiment)) if -3 <= sentiment <= 3 else None


DATASET = Dataset(
    name="cmu-mosei",
    title="CMU-MOSEI",
    citation=(
        "A. Zadeh, P. P. Liang, S. Poria, E. Cambria, L.-P. Morency: Multimodal Language Analysis in the "
        "Wild: CMU-MOSEI Dataset and Interpretable Dynamic Fusion Graph. ACL, 2018."
    ),
    address="http://multicomp.cs.cmu.edu/resources/cmu-mosei-dataset/",
    read=read,
    group="video",
    classes=7,
    counts={"train": 16326, "val": 1871, "test": 4659},
    layout="""
labels.csv                           video_id,segment,label,split; label is the sentiment, a number from -3 to 3
audio/<video_id>_<segment>.npy       [50, 74] for COVAREP features aligned to 50 words
vision/<video_id>_<segment>.npy      [50, 35], Facet's
text/<video_id>_<segment>.npy        [50, 768], BERT's; all files of a modality must have the same shape
""",
    conversion=CONVERSION,
    preset=paper_preset(*extracted_features(MODALITIES), **CREMA_D_TRAINING),
    notes=(
        "Not in the paper: trained like CREMA-D, with a multi-layer perceptron on each modality's features.",
        "The sentiment is rounded to seven classes, -3 to 3, halves to even, as in Acc-7.",
        "The sample counts and the names in the conversion script are those of the features distributed by the MMSA "
        "toolkit; for another pickle, change the names.",
    ),
)
